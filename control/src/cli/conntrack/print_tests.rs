use std::net::IpAddr;

use super::*;
use crate::api::flow::FlowIcmp;

fn side(src: &str, dst: &str, ports: Option<(u16, u16)>) -> FlowSide {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    FlowSide {
        src: address(src),
        dst: address(dst),
        sport: ports.map(|ports| ports.0),
        dport: ports.map(|ports| ports.1),
        icmp: None,
        vtag: None,
        zone: 0,
        packets: 0,
        bytes: 0,
    }
}

fn tcp() -> Flow {
    Flow {
        id: 2_316_188_522,
        family: "ipv4".into(),
        protocol: 6,
        protocol_name: "tcp".into(),
        state: Some("ESTABLISHED".into()),
        timeout: 999,
        status: vec!["seen-reply".into(), "assured".into(), "confirmed".into()],
        original: side("10.0.0.1", "10.0.0.2", Some((1234, 80))),
        reply: side("10.0.0.2", "10.0.0.1", Some((80, 1234))),
        mark: 5,
        labels: Vec::new(),
        start_ns: 1_795_817_893_552_989_241,
        stop_ns: None,
        helper: None,
    }
}

fn icmp() -> Flow {
    let mut flow = tcp();
    let icmp = |kind| {
        Some(FlowIcmp {
            kind,
            code: 0,
            id: 77,
        })
    };
    flow.protocol = 1;
    flow.protocol_name = "icmp".into();
    flow.state = None;
    flow.timeout = 29;
    flow.mark = 0;
    flow.status = vec!["confirmed".into()];
    flow.original = FlowSide {
        icmp: icmp(8),
        ..side("10.0.0.1", "10.0.0.2", None)
    };
    flow.reply = FlowSide {
        icmp: icmp(0),
        ..side("10.0.0.2", "10.0.0.1", None)
    };
    flow
}

fn printed(one: &Flow, why: Why, output: Output) -> String {
    flow(one, why, output, one.start_ns + 400_000_000)
}

const PLAIN: Output = Output {
    xml: false,
    extended: false,
    timestamp: false,
    id: false,
    ktimestamp: false,
    save: false,
};

/// The lines are what conntrack 1.4.7 printed of the same flows.
#[test]
fn lines_are_those_of_the_real_one() {
    assert_eq!(
        printed(&tcp(), Why::Listed, PLAIN),
        "tcp      6 999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1234 dport=80 packets=0 \
         bytes=0 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1234 packets=0 bytes=0 [ASSURED] mark=5 \
         delta-time=0 use=1"
    );
    assert_eq!(
        printed(&icmp(), Why::Listed, PLAIN),
        "icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 packets=0 bytes=0 \
         [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 packets=0 bytes=0 mark=0 \
         delta-time=0 use=1"
    );
    let output = Output {
        extended: true,
        id: true,
        ktimestamp: true,
        ..PLAIN
    };
    assert_eq!(
        printed(&tcp(), Why::Listed, output),
        "ipv4     2 tcp      6 999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1234 dport=80 \
         packets=0 bytes=0 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1234 packets=0 bytes=0 \
         [ASSURED] mark=5 delta-time=0 [start=Fri Nov 27 22:18:13 2026] use=1 id=2316188522"
    );
    let mut zoned = icmp();
    zoned.original.zone = 5;
    assert!(printed(&zoned, Why::Listed, PLAIN).contains("id=77 zone-orig=5 packets=0"));
    zoned.reply.zone = 5;
    assert!(printed(&zoned, Why::Listed, PLAIN).contains("mark=0 zone=5 delta-time=0"));
}

#[test]
fn events_carry_no_figures_until_the_end() {
    assert_eq!(
        printed(&icmp(), Why::New, PLAIN),
        "    [NEW] icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 [UNREPLIED] \
         src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77"
    );
    let mut ended = tcp();
    ended.stop_ns = Some(ended.start_ns + 2_000_000_000);
    ended.timeout = 0;
    ended.mark = 0;
    let output = Output {
        timestamp: true,
        ..PLAIN
    };
    assert_eq!(
        printed(&ended, Why::Destroy, output),
        "[1795817893.952989]\t[DESTROY] tcp      6 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 \
         sport=1234 dport=80 packets=0 bytes=0 src=10.0.0.2 dst=10.0.0.1 sport=80 dport=1234 \
         packets=0 bytes=0 [ASSURED] delta-time=2"
    );
}

#[test]
fn saved_lines_are_those_of_the_real_one() {
    let output = Output {
        save: true,
        ..PLAIN
    };
    assert_eq!(
        printed(&tcp(), Why::Listed, output),
        "-A -t 999 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p tcp \
         --sport 1234 --dport 80 --reply-port-src 80 --reply-port-dst 1234 --state ESTABLISHED"
    );
    assert_eq!(
        printed(&icmp(), Why::Destroy, output),
        "-D -t 29 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p icmp --icmp-type 8 \
         --icmp-code 0 --icmp-id 77"
    );
}

#[test]
fn xml_is_that_of_the_real_one() {
    let output = Output { xml: true, ..PLAIN };
    assert_eq!(
        printed(&tcp(), Why::Listed, output),
        "<flow><meta direction=\"original\"><layer3 protonum=\"2\" protoname=\"ipv4\">\
         <src>10.0.0.1</src><dst>10.0.0.2</dst></layer3><layer4 protonum=\"6\" protoname=\"tcp\">\
         <sport>1234</sport><dport>80</dport></layer4><counters><packets>0</packets>\
         <bytes>0</bytes></counters></meta><meta direction=\"reply\"><layer3 protonum=\"2\" \
         protoname=\"ipv4\"><src>10.0.0.2</src><dst>10.0.0.1</dst></layer3><layer4 protonum=\"6\" \
         protoname=\"tcp\"><sport>80</sport><dport>1234</dport></layer4><counters>\
         <packets>0</packets><bytes>0</bytes></counters></meta><meta direction=\"independent\">\
         <state>ESTABLISHED</state><timeout>999</timeout><mark>5</mark><use>1</use>\
         <id>2316188522</id><assured/><deltatime>0</deltatime></meta></flow>"
    );
    let output = Output {
        timestamp: true,
        ..output
    };
    let event = printed(&icmp(), Why::New, output);
    assert!(event.starts_with("<flow type=\"new\">"), "{event}");
    assert!(
        event.ends_with(
            "<timeout>29</timeout><id>2316188522</id><unreplied/></meta><when><hour>22</hour>\
             <min>18</min><sec>13</sec><wday>6</wday><day>27</day><month>11</month>\
             <year>2026</year></when></flow>"
        ),
        "{event}"
    );
}
