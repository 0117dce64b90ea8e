use super::*;

fn parse(line: &str) -> Result<Call, Usage> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Call::parse(&words)
}

/// Command lines with what conntrack 1.4.7 says of them.
#[test]
fn complaints_are_those_of_the_real_one() {
    for (line, complaint) in [
        ("-L -L", "Invalid commands combination"),
        ("-S -L", "Invalid commands combination"),
        ("-Q", "unknown option `-Q'"),
        ("--bogus", "unknown option `--bogus'"),
        ("-L --sr 1.2.3.4", "unknown option `--sr'"),
        ("-L -d", "option `-d' requires an argument"),
        ("-L --src", "option `--src' requires an argument"),
        ("-L foo", "unknown type `foo'"),
        ("-L -p foo", "`foo' unsupported protocol"),
        ("-L -f foo", "`foo' unsupported protocol"),
        ("-L -o id,foo", "Bad parameter `foo'"),
        ("-L -u CONFIRMED", "Bad parameter `CONFIRMED'"),
        ("-E -e NEW,FOO", "Bad parameter `FOO'"),
        ("-L -s foo", "Invalid IP address `foo'"),
        ("-L -s 10.0.0.1/33", "Invalid netmask"),
        ("-L -s 10.0.0.1 -d fd00::1", "mismatched address family"),
        ("-L -s 10.0.0.1 -f ipv6", "mismatched address family"),
        (
            "-L --mask-src 1.2.3.4",
            "Can't use --mask-src without --src",
        ),
        ("-F -s 10.0.0.1", "Illegal option `--src' with this command"),
        ("-C -p tcp", "Illegal option `--protonum' with this command"),
        (
            "-G -p udp -s fd00::1 -d fd00::2 --sport 53 --dport 80 -w 7",
            "Illegal option `--zone' with this command",
        ),
        ("-L --sport 5", "unknown option `--sport'"),
        ("-L -p icmp --sport 5", "unknown option `--sport'"),
        (
            "-L -p tcp --state established",
            "unknown TCP state `established'",
        ),
        (
            "-L -p tcp --dport 80 --sport",
            "option `--sport' requires an argument",
        ),
        (
            "-G",
            "You need to supply the `--protonum' option for this command",
        ),
        (
            "-G expect",
            "You need to supply the `--src' option for this command",
        ),
        (
            "-G -p tcp -s 1.1.1.1",
            "you have to specify `--src' and `--dst'",
        ),
        (
            "-G -p tcp -s 1.1.1.1 -d 1.1.1.2",
            "you have to specify `--sport' and `--dport'",
        ),
        (
            "-G -p icmp -s 1.1.1.1 -d 1.1.1.2",
            "You need to supply the `--icmp-type' option for this command",
        ),
        (
            "-D dying",
            "Can't do that command with tables `dying' and `unconfirmed'",
        ),
        (
            "-L -p tcp --tuple-src 1.2.3.4",
            "Illegal option `--tuple-src' with this command",
        ),
    ] {
        assert_eq!(parse(line), Err(complaint.to_owned()), "{line}");
    }
}

#[test]
fn options_become_a_query() {
    let call = parse(
        "-L -p tcp -s 10.0.0.0/8 --dport 0x50 --state ESTABLISHED -m 4/6 -u ASSURED,SEEN_REPLY -o xml,id",
    );
    let call = call.unwrap();
    assert_eq!(
        (call.command, call.table),
        (Command::List, Table::Conntrack)
    );
    assert!(call.output.xml && call.output.id && !call.output.extended);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        call.query,
        FlowQuery {
            family: text("ipv4"),
            protocol: text("6"),
            src: text("10.0.0.0/8"),
            dport: text("80"),
            state: text("ESTABLISHED"),
            mark: text("4/6"),
            status: text("assured,seen-reply"),
            ..FlowQuery::default()
        }
    );
}

#[test]
fn letters_may_stand_together_and_numbers_are_read_as_far_as_they_go() {
    let call = parse("-Lptcp -w x -s 10.0.0.1 --mask-src 255.0.0.0").unwrap();
    assert_eq!(call.query.protocol.as_deref(), Some("6"));
    assert_eq!(call.query.zone.as_deref(), Some("0"));
    assert_eq!(call.query.src.as_deref(), Some("10.0.0.1/8"));
    let call = parse("-L -g").unwrap();
    assert_eq!(call.query.status.as_deref(), Some("dnat"));
    let call = parse("-L -u ASSURED -n 1.2.3.4").unwrap();
    assert_eq!(call.query.status.as_deref(), Some("assured,snat"));
    assert_eq!(call.query.reply_dst.as_deref(), Some("1.2.3.4/32"));
    let call = parse("-L -j").unwrap();
    assert_eq!(call.query.status.as_deref(), Some("translated"));
    assert_eq!(parse("").unwrap().command, Command::Help);
    assert_eq!(parse("-L -- x").unwrap().command, Command::List);
}

/// Command lines that make and change flows, with what conntrack 1.4.7 says of them.
#[test]
fn complaints_about_making_flows_are_those_of_the_real_one() {
    let ends = "-t 50 -s 1.1.1.1 -d 1.1.1.2";
    for (line, complaint) in [
        (
            "-s 1.1.1.1",
            "You need to supply the `--protonum' option for this command",
        ),
        (
            "-z",
            "You need to supply the `--protonum' option for this command",
        ),
        (
            "-p tcp",
            "You need to supply the `--timeout' option for this command",
        ),
        (
            "-p tcp -t 5 -s 1.1.1.1",
            "you have to specify `--src' and `--dst'",
        ),
        ("-p icmp -t 5", "you have to specify `--src' and `--dst'"),
        (
            "-p udp -t 5 -r 1.1.1.1",
            "you have to specify `--reply-src' and `--reply-dst'",
        ),
        (
            &format!("-p tcp {ends} --sport 5 --dport 6"),
            "You need to supply the `--state' option for this command",
        ),
        (
            &format!("-p tcp {ends} --state ESTABLISHED"),
            "you have to specify `--sport' and `--dport'",
        ),
        (
            &format!("-p tcp {ends} --state established"),
            "unknown TCP state `established'",
        ),
        (
            &format!("-p udp {ends} --sport 5"),
            "you have to specify `--sport' and `--dport'",
        ),
        (
            &format!("-p icmp {ends} --icmp-type 8"),
            "You need to supply the `--icmp-code' option for this command",
        ),
        (
            &format!("-p sctp {ends} --sport 5 --dport 6 --state ESTABLISHED"),
            "You need to supply the `--orig-vtag' option for this command",
        ),
        (
            &format!("-p dccp {ends} --sport 5 --dport 6 --state OPEN"),
            "You need to supply the `--role' option for this command",
        ),
        (
            &format!("-p gre {ends}"),
            "you have to specify `--srckey' and `--dstkey'",
        ),
        (
            "-p udp -t 5 -s 1.1.1.0/24 -d 1.1.1.2 --sport 6 --dport 7",
            "Illegal option `--mask-src' with this command",
        ),
        (
            &format!("-p udp {ends} --sport 5 --dport 6 -o xml"),
            "Illegal option `--output' with this command",
        ),
        (
            &format!("-p udp {ends} --sport 5 --dport 6 -f ipv4"),
            "Illegal option `--family' with this command",
        ),
        (
            &format!("-p udp {ends} --sport 5 --dport 6 --label-add no-such-label"),
            "unknown label 'no-such-label'",
        ),
    ] {
        for command in ["-I", "-A"] {
            let line = format!("{command} {line}");
            assert_eq!(parse(&line), Err(complaint.to_owned()), "{line}");
        }
    }
    for (line, complaint) in [
        ("-U -w 5", "Illegal option `--zone' with this command"),
        ("-U -j", "Illegal option `--any-nat' with this command"),
        (
            "-U -e NEW",
            "Illegal option `--event-mask' with this command",
        ),
        (
            "-U --mask-src 1.1.1.1",
            "Can't use --mask-src without --src",
        ),
        ("-U -p udp --state ESTABLISHED", "unknown option `--state'"),
        ("-U -m", "option `-m' requires an argument"),
        ("-I -U", "Invalid commands combination"),
        ("-U expect", "Can't do --update on expectations"),
        ("-A expect", "Can't do --add on expectations"),
    ] {
        assert_eq!(parse(line), Err(complaint.to_owned()), "{line}");
    }
}

#[test]
fn what_is_a_condition_elsewhere_is_a_value_of_what_is_made_or_changed() {
    let text = |text: &str| Some(text.to_owned());
    let line = "--update -p tcp -s 10.0.0.0/8 --state LISTEN -m 4/6 -u ASSURED,UNSET -t 0x10 -n";
    let call = parse(line).unwrap();
    assert_eq!(call.command, Command::Update);
    assert_eq!(
        call.query,
        FlowQuery {
            family: text("ipv4"),
            protocol: text("6"),
            src: text("10.0.0.0/8"),
            status: text("snat"),
            ..FlowQuery::default()
        }
    );
    assert_eq!(
        call.made,
        Made {
            timeout: Some(16),
            state: text("SYN_SENT2"),
            status: vec!["assured".to_owned()],
            mark: text("4/6"),
            translated: true,
            ..Made::default()
        }
    );
    let call = parse(
        "--create -p sctp -t 5 -s fd00::1 -d fd00::2 --sport 1 --dport 2 --state CLOSED \
         --orig-vtag 7 --reply-vtag 8 -w 3",
    );
    let call = call.unwrap();
    assert_eq!(
        (call.command, call.made.vtags),
        (Command::Insert, [Some(7), Some(8)])
    );
    assert_eq!(call.query.zone, text("3"));
    assert_eq!(
        parse("-A -p 89 -t 5 -s 1.1.1.1 -d 1.1.1.2")
            .unwrap()
            .command,
        Command::Add
    );
    let call = parse("-U -s 1.1.1.1 --label-del").unwrap();
    assert_eq!(call.made.labels_del.len(), 128);
}

#[test]
fn what_this_daemon_does_not_do_is_refused() {
    assert!(
        parse("-R file")
            .unwrap_err()
            .contains("not read from a file")
    );
    assert!(parse("--load-file file").unwrap_err().contains("not read"));
    assert!(parse("-L -z").unwrap_err().contains("-z is not supported"));
    assert!(
        parse("-I expect -t 5")
            .unwrap_err()
            .contains("helpers announce")
    );
}
