//! `tradewind withheld` against an address that answers as a controller does, or as something else.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};

use super::{code, stderr, stdout, tradewind};

/// Answers every request with what `answer` makes of its path, for as long as the test process lives.
fn controller(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    url
}

fn set(cluster: &str, count: usize) -> Value {
    json!({
        "cluster": cluster, "id": format!("id-of-{cluster}"), "count": count, "owned": 40, "kinds": {"ServiceEntry": count},
        "secret": {"namespace": "admiral", "name": format!("secret-of-{cluster}")},
        "objects": vec!["ServiceEntry admiral-sync/a.global-se"; count],
    })
}

/// A controller with these sets, one a page.
fn withholding(sets: Vec<Value>) -> String {
    controller(move |path| {
        let at = path.split_once("&continue=").map_or(0, |(_, token)| token.parse().expect("our token"));
        let metadata = if at + 1 < sets.len() { json!({"continue": (at + 1).to_string()}) } else { json!({}) };
        let page: Vec<&Value> = sets.get(at).into_iter().collect();
        (200, json!({"withheld": page, "metadata": metadata}).to_string())
    })
}

#[test]
fn the_exit_code_of_withheld_shows_whether_something_waits() {
    let nothing = withholding(Vec::new());
    let output = tradewind(&["withheld", "--controller", &nothing]);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, "".into(), "nothing is withheld\n".into()));

    let url = withholding(vec![set("east", 24), set("west", 7)]);
    let output = tradewind(&["withheld", "--controller", &url]);
    assert_eq!(code(&output), 1);
    let table = stdout(&output);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["CLUSTER", "ID", "REMOVALS", "OF", "KINDS", "SECRET"]);
    assert_eq!(rows[1], ["east", "id-of-east", "24", "40", "ServiceEntry:", "24", "admiral/secret-of-east"]);
    assert_eq!((rows[2][0], rows.len()), ("west", 3), "pages are followed");

    let output = tradewind(&["withheld", "west", "--controller", &url, "-o", "json"]);
    assert_eq!(code(&output), 1);
    let shown: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(shown, json!({"withheld": [set("west", 7)]}));
    let output = tradewind(&["withheld", "west", "--controller", &url, "-o", "yaml"]);
    assert_eq!(serde_saphyr::from_str::<Value>(&stdout(&output)).expect("YAML"), shown);
    assert_eq!(code(&tradewind(&["withheld", "north", "--controller", &url])), 0);
}

#[test]
fn nothing_is_released_without_a_word() {
    let url = withholding(vec![set("east", 24), set("west", 7)]);
    let output = Command::new(env!("CARGO_BIN_EXE_tradewind"))
        .args(["withheld", "--release", "--controller", &url, "--kubeconfig=/nowhere"])
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(said.contains("the removal of 31 objects in 2 clusters") && said.contains("--yes"), "{said}");

    let output = tradewind(&["withheld", "--release", "--yes", "--controller", &url, "--kubeconfig=/nowhere"]);
    assert!(code(&output) == 2 && stderr(&output).contains("/nowhere"), "{}", stderr(&output));
}

#[test]
fn what_does_not_answer_as_tradewind_is_an_error() {
    let other = controller(|_| (200, "<html>".to_owned()));
    let output = tradewind(&["withheld", "--controller", &other]);
    assert!(code(&output) == 2 && stderr(&output).contains("does not answer as Tradewind"), "{}", stderr(&output));
    let refusing = controller(|_| (403, "{\"error\":\"nothing is served under this name\"}".to_owned()));
    let output = tradewind(&["withheld", "--controller", &refusing]);
    assert!(code(&output) == 2 && stderr(&output).contains("nothing is served under"), "{}", stderr(&output));
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address");
    assert_eq!(code(&tradewind(&["withheld", "--controller", &free.to_string()])), 2);
}
