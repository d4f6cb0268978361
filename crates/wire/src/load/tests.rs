use super::*;
use crate::base64;

fn chosen(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// What a field says with no metric chosen.
#[track_caller]
fn check(value: &str, expect: Result<Report, Unread>) {
    assert_eq!(read(value.as_bytes(), &[]), expect, "{value}");
}

const NONE: Report = Report {
    application: None,
    cpu: None,
    memory: None,
    rps: None,
    eps: None,
    chosen: None,
};

fn cpu(cpu: f64) -> Result<Report, Unread> {
    Ok(Report {
        cpu: Some(cpu),
        ..NONE
    })
}

fn whole() -> Report {
    Report {
        application: Some(0.5),
        cpu: Some(0.3),
        memory: Some(0.25),
        rps: Some(120.5),
        eps: Some(1.0),
        chosen: None,
    }
}

#[test]
fn text() {
    check("TEXT cpu_utilization=0.3", cpu(0.3));
    check("TEXT", Ok(NONE));
    check("BIN ", Ok(NONE));
    check("  TEXT   cpu_utilization = 3e-1 ", cpu(0.3));
    check(
        "TEXT application_utilization=0.5,cpu_utilization=0.3,mem_utilization=0.25,rps_fractional=120.5,eps=1,named_metrics.foo=0.1",
        Ok(whole()),
    );
    // What is not known here, and what is nobody's.
    check(
        "TEXT other=1,named_metrics.a=1,named_metrics.a=1,x.y=2",
        Ok(NONE),
    );
    check(
        "TEXT cpu_utilization=0,eps=0",
        Ok(Report {
            eps: Some(0.0),
            ..cpu(0.0).unwrap()
        }),
    );
    check("TEXT cpu_utilization=1000000000", cpu(1e9));
    for (value, why) in [
        ("", Unread::Format),
        ("text cpu_utilization=0.3", Unread::Format),
        ("cpu_utilization=0.3", Unread::Format),
        ("YAML cpu_utilization=0.3", Unread::Format),
        ("TEXT cpu_utilization", Unread::Syntax),
        ("TEXT cpu_utilization=0.3,", Unread::Syntax),
        ("TEXT ,cpu_utilization=0.3", Unread::Syntax),
        ("TEXT =0.3", Unread::Syntax),
        ("TEXT cpu_utilization=", Unread::Number),
        ("TEXT cpu_utilization=NaN", Unread::Number),
        ("TEXT cpu_utilization=inf", Unread::Number),
        ("TEXT cpu_utilization=infinity", Unread::Number),
        ("TEXT cpu_utilization=-0.1", Unread::Number),
        ("TEXT cpu_utilization=+0.1", Unread::Number),
        ("TEXT cpu_utilization=1e999", Unread::Number),
        ("TEXT cpu_utilization=1000000001", Unread::Number),
        ("TEXT cpu_utilization=0.3x", Unread::Number),
        ("TEXT cpu_utilization=0.3=0.3", Unread::Number),
        ("TEXT cpu_utilization=0x1", Unread::Number),
        ("TEXT other=NaN", Unread::Number),
        (
            "TEXT cpu_utilization=0.3,cpu_utilization=0.3",
            Unread::Twice,
        ),
        ("TEXT eps=1,cpu_utilization=0.3,eps=2", Unread::Twice),
    ] {
        check(value, Err(why));
    }
}

#[test]
fn json() {
    check(r#"JSON {"cpu_utilization":0.3}"#, cpu(0.3));
    check(r#"JSON { "cpuUtilization" : "0.3" } "#, cpu(0.3));
    check(
        r#"JSON {"application_utilization":0.5,"cpuUtilization":3e-1,"mem_utilization":0.25,"rps_fractional":120.5,"eps":1,"named_metrics":{"foo":0.1}}"#,
        Ok(whole()),
    );
    check("JSON {}", Ok(NONE));
    check(
        r#"JSON {"eps":null,"named_metrics":null,"requestCost":{}}"#,
        Ok(NONE),
    );
    check(
        r#"JSON {"other":[1,{"a":[true,false,null,"\"}"]},-0.5],"cpu_utilization":0.3}"#,
        cpu(0.3),
    );
    check(r#"JSON {"other":[[[[[[[[]]]]]]]]}"#, Ok(NONE)); // eight deep
    check(r#"JSON {"cpu_utilization":-0}"#, cpu(0.0));
    for (value, why) in [
        ("JSON", Unread::Syntax),
        ("JSON x", Unread::Syntax),
        ("JSON {", Unread::Syntax),
        ("JSON []", Unread::Syntax),
        ("JSON {}{}", Unread::Syntax),
        (r#"JSON {"cpu_utilization":0.3,}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization" 0.3}"#, Unread::Syntax),
        (r#"JSON {cpu_utilization:0.3}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":.3}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":3.}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":00.3}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":3e}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":NaN}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":true}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":{}}"#, Unread::Syntax),
        (r#"JSON {"cpu_utilization":nul}"#, Unread::Syntax),
        (r#"JSON {"other":"a"#, Unread::Syntax),
        (r#"JSON {"other":[[[[[[[[[]]]]]]]]]}"#, Unread::Syntax),
        ("JSON {\"other\":\"a\nb\"}", Unread::Syntax),
        (r#"JSON {"cpu_utilization":"NaN"}"#, Unread::Number),
        (r#"JSON {"cpu_utilization":"Infinity"}"#, Unread::Number),
        (r#"JSON {"cpu_utilization":"0.3 "}"#, Unread::Number),
        (r#"JSON {"cpu_utilization":""}"#, Unread::Number),
        (r#"JSON {"cpu_utilization":-0.1}"#, Unread::Number),
        (r#"JSON {"cpu_utilization":1e400}"#, Unread::Number),
        (r#"JSON {"named_metrics":{"foo":-1}}"#, Unread::Number),
        (
            r#"JSON {"cpu_utilization":0.3,"cpuUtilization":0.3}"#,
            Unread::Twice,
        ),
    ] {
        check(value, Err(why));
    }
    assert_eq!(
        read_page(b"\n{\"cpu_utilization\": 0.3}\r\n", &[]),
        cpu(0.3)
    );
    assert_eq!(read_page(b"", &[]), Err(Unread::Syntax));
}

/// A field of kind 1, or of kind 2.
fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn bytes(number: u8, bytes: &[u8]) -> Vec<u8> {
    [
        &[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..],
        bytes,
    ]
    .concat()
}

fn entry(map: u8, key: &str, value: f64) -> Vec<u8> {
    bytes(map, &[bytes(1, key.as_bytes()), double(2, value)].concat())
}

#[test]
fn binary() {
    let read = |message: &[u8]| {
        let text = base64::text(message);
        let said = read_binary(text.as_bytes(), &[]);
        assert_eq!(read(format!("BIN {text}").as_bytes(), &[]), said);
        said
    };
    let message = [
        double(1, 0.3),
        double(2, 0.25),
        double(6, 120.5),
        double(7, 1.0),
        entry(8, "foo", 0.1),
        double(9, 0.5),
    ];
    assert_eq!(read(&message.concat()), Ok(whole()));
    assert_eq!(read(&[]), Ok(NONE));
    // `rps` of old, a number that is not known, a text, a fixed 32.
    let later = [
        &[0x18, 0x80, 0x01][..],
        &double(15, 2.0),
        &bytes(14, b"x"),
        &[0x6D, 1, 2, 3, 4],
        &double(1, 0.3),
    ];
    assert_eq!(read(&later.concat()), cpu(0.3));
    for (message, why) in [
        (&double(1, f64::NAN)[..], Unread::Number),
        (&double(1, f64::INFINITY), Unread::Number),
        (&double(1, -0.1), Unread::Number),
        (&entry(8, "foo", f64::NAN), Unread::Number),
        (&[double(1, 0.3), double(1, 0.3)].concat(), Unread::Twice),
        (&double(1, 0.3)[..8], Unread::Syntax),
        (&bytes(1, b"0.3"), Unread::Syntax), // of another kind
        (&double(8, 0.3), Unread::Syntax),
        (&bytes(8, &double(1, 0.3)), Unread::Syntax),
        (&[0x01, 0, 0, 0, 0, 0, 0, 0, 0], Unread::Syntax), // field 0
        (&[0x0B], Unread::Syntax),                         // a group
        (&[0x42, 0xFF], Unread::Syntax),
        (
            &[
                0x18, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02,
            ],
            Unread::Syntax,
        ),
    ] {
        assert_eq!(read(message), Err(why), "{message:02x?}");
    }
    check("BIN not base64", Err(Unread::Syntax));
    check("BIN CTMzMzMzM9M_", Err(Unread::Syntax)); // the other alphabet
    check("BIN CTMzMzMzM9M/", cpu(0.3)); // as protoc writes 0.3
}

#[test]
fn metrics_that_were_chosen() {
    let check = |names: &[&str], value: &str, expect: Result<Option<f64>, Unread>| {
        let read = read(value.as_bytes(), &chosen(names));
        assert_eq!(
            read.map(|report| report.chosen),
            expect,
            "{names:?} in {value}"
        );
    };
    let text = "TEXT cpu_utilization=0.3,named_metrics.a=0.1,named_metrics.b=0.7,utilization.a=0.9";
    check(&["named_metrics.a"], text, Ok(Some(0.1)));
    check(&["named_metrics.a", "named_metrics.b"], text, Ok(Some(0.7)));
    check(&["utilization.a", "cpu_utilization"], text, Ok(Some(0.9)));
    check(&["cpu_utilization"], text, Ok(Some(0.3)));
    check(&["named_metrics.c", "a", "utilization"], text, Ok(None));
    let json = r#"JSON {"utilization":{"a":0.9},"namedMetrics":{"a":0.1,"b":"0.7"}}"#;
    check(&["named_metrics.a", "named_metrics.b"], json, Ok(Some(0.7)));
    check(&["utilization.a"], json, Ok(Some(0.9)));
    let message = [entry(8, "a", 0.1), entry(5, "a", 0.9), entry(8, "b", 0.7)].concat();
    let binary = format!("BIN {}", base64::text(&message));
    check(
        &["named_metrics.a", "named_metrics.b"],
        &binary,
        Ok(Some(0.7)),
    );
    check(&["utilization.a"], &binary, Ok(Some(0.9)));
    let twice = "TEXT named_metrics.a=0.1,named_metrics.a=0.2";
    check(&["named_metrics.a"], twice, Err(Unread::Twice));
    check(&["named_metrics.b"], twice, Ok(None));
}

#[test]
fn lengths() {
    let of = |length: usize| {
        let mut value = b"TEXT x=".to_vec();
        value.resize(length, b'1');
        value
    };
    // A number of so many digits is too large, which is found once it is read.
    assert_eq!(read(&of(FIELD_MOST), &[]), Err(Unread::Number));
    assert_eq!(read(&of(FIELD_MOST + 1), &[]), Err(Unread::Long));
    assert_eq!(read_binary(&of(FIELD_MOST + 1), &[]), Err(Unread::Long));
    let page = |length: usize| [b"{}".to_vec(), vec![b' '; length - 2]].concat();
    assert_eq!(read_page(&page(PAGE_MOST), &[]), Ok(NONE));
    assert_eq!(read_page(&page(PAGE_MOST + 1), &[]), Err(Unread::Long));
    // The longest message that fits a field is decoded whole.
    let longest = base64::text(&[0; FIELD_MOST / 4 * 3]);
    assert_eq!(longest.len(), FIELD_MOST);
    assert_eq!(read_binary(longest.as_bytes(), &[]), Err(Unread::Syntax));
}

#[test]
fn which_field() {
    let check = |name: &str, value: &str, expect: Option<Result<Report, Unread>>| {
        let read = of_field(name.as_bytes(), value.as_bytes(), &[]);
        assert_eq!(read, expect, "{name}");
    };
    let text = "TEXT cpu_utilization=0.3";
    check("endpoint-load-metrics", text, Some(cpu(0.3)));
    check("Endpoint-Load-Metrics", text, Some(cpu(0.3)));
    check("endpoint-load-metrics-bin", "CTMzMzMzM9M/", Some(cpu(0.3)));
    check("endpoint-load-metrics-bin", text, Some(Err(Unread::Syntax)));
    check("endpoint-load-metrics-format", text, None);
    check("endpoint-load-metric", text, None);
    check("content-type", text, None);
}
