//! Golden cases of the appliance file: `appliance/NAME.toml` reads as `appliance/NAME.txt` says.
//! `SLUICE_BLESS=1` writes the texts anew.

use std::path::Path;

use sluice_control::appliance::Appliance;

fn said(name: &str, text: &str) -> String {
    match Appliance::read(name, text) {
        Ok(appliance) => format!("{appliance:#?}\n"),
        Err(errors) => format!("{errors}\n"),
    }
}

#[test]
fn every_case_reads_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/appliance");
    let mut cases = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        cases += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let said = said(&name, &std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("txt");
        if std::env::var_os("SLUICE_BLESS").is_some() {
            std::fs::write(&golden, said).unwrap();
        } else {
            let golden = std::fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(said, golden, "{name}");
        }
    }
    assert!(cases >= 8, "only {cases} cases found");
}

#[test]
fn every_error_names_file_line_and_key() {
    let errors = Appliance::read("x.toml", "[control]\nmod = \"0600\"\n").unwrap_err();
    let error = &errors.0[0];
    assert_eq!(
        (error.file.as_str(), error.line, error.column),
        ("x.toml", 2, 1)
    );
    assert_eq!(error.key, "control.mod");
    assert!(
        error.message.contains("did you mean mode?"),
        "{}",
        error.message
    );
    assert!(
        error.message.contains("socket"),
        "says what is allowed: {}",
        error.message
    );
}
