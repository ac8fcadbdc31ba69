use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::*;
use crate::host::program::tests::{NOT_HELD_UP, Stage};
use crate::secret::{Content, Secret};
use crate::step::{
    ApiRequest, Digest, FETCH_LIMIT, HttpReading, HttpRequest, Method, Outcome, Reading, Remote, Sending, Trust,
};

/// A web server; gives its address and what it was asked.
fn serve(body: &'static [u8]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let (mut request, mut chunk) = (Vec::new(), [0; 1024]);
            while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => request.extend(&chunk[..count]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = told.send(request);
            let moved = |to: &str| format!("302 Found\r\nLocation: {to}\r\nContent-Length: 0");
            let head = match path.as_str() {
                "/file" => format!("200 OK\r\nServer: x\r\nContent-Length: {}", body.len()),
                // Without its length, so that only what arrives can tell.
                "/endless" => "200 OK".to_owned(),
                "/large" => "200 OK\r\nContent-Length: 1000000".to_owned(),
                "/moved" => moved("/file"),
                "/circle" => moved("/circle"),
                _ => "404 Not Found\r\nContent-Length: 0".to_owned(),
            };
            let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
            if path == "/file" {
                let _ = stream.write_all(body);
            }
            while path == "/endless" && stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    (address, asked)
}

fn answer(stage: &Stage, request: &HttpRequest) -> std::result::Result<HttpReading, String> {
    match ask(&stage.programs(), request, NOT_HELD_UP) {
        Reading::Http(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn with_curl_and_with_wget(test: impl Fn(&Stage, &str)) {
    test(&Stage::new(), "curl");
    let mut stage = Stage::new();
    stage.only(&["wget", "cat"]);
    test(&stage, "wget");
}

#[test]
fn web_servers_are_asked_by_the_host_itself() {
    with_curl_and_with_wget(|stage, tool| {
        let (address, asked) = serve(b"short \r\n\r\n and stout");
        let get = |path: &str| answer(stage, &HttpRequest::get(format!("{address}{path}")));
        let read = get("/file").expect("an answer");
        assert_eq!((read.status, read.body.as_slice()), (200, b"short \r\n\r\n and stout".as_slice()), "{tool}");
        assert_eq!(read.header("server").collect::<Vec<_>>(), ["x"], "{tool}");
        assert_eq!(get("/none?b=[c]").expect("an answer").status, 404, "{tool}");
        let wanted = if tool == "curl" { "GET /none?b=[c] " } else { "GET /none?b=" };
        assert!(asked.try_iter().any(|request| request.starts_with(wanted)), "{tool}");
        assert_eq!(get("/moved").expect("an answer").status, 302, "{tool}: no redirect is followed");
        let request = HttpRequest { method: Method::Head, ..HttpRequest::get(format!("{address}/file")) };
        let head = answer(stage, &request).expect("an answer");
        assert_eq!((head.status, head.body.len()), (200, 0), "{tool}");
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let silence = answer(stage, &HttpRequest::get(format!("http://{closed}/")));
        assert!(silence.as_ref().is_err_and(|why| !why.contains(" ms")), "{tool}: {silence:?}");
    });
}

#[test]
fn headers_from_a_file_are_sent_and_are_no_arguments() {
    let mut stage = Stage::new();
    let (address, asked) = serve(b"");
    let file = stage.path("token");
    std::fs::write(&file, "Authorization: token s3cret\nX-Team: data\n").expect("a file");
    let request = HttpRequest { header_file: Some(file), ..HttpRequest::get(format!("{address}/file")) };
    assert_eq!(answer(&stage, &request).expect("an answer").status, 200);
    let sent = asked.recv().expect("a request");
    assert!(sent.contains("\r\nAuthorization: token s3cret\r\nX-Team: data\r\n"), "{sent}");
    stage.only(&["wget", "cat"]);
    assert!(fault(&stage.programs(), &request).is_some_and(|why| why.contains("needs curl")));
}

#[test]
fn an_endless_or_hanging_answer_is_bounded() {
    with_curl_and_with_wget(|stage, tool| {
        let (address, _asked) = serve(b"");
        let began = Instant::now();
        let read = answer(stage, &HttpRequest::get(format!("{address}/endless"))).expect("an answer");
        assert_eq!((read.status, read.body.len() as u64), (200, FETCH_LIMIT), "{tool}");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("its address"));
        let request = HttpRequest { timeout: Duration::from_secs(1), ..HttpRequest::get(url) };
        let silence = answer(stage, &request).expect_err("it does not answer");
        assert_eq!(silence, if tool == "curl" { "no answer in time" } else { "no answer" });
        assert!(began.elapsed() < NOT_HELD_UP, "{tool}");
    });
}

#[test]
fn what_cannot_be_asked_is_unknown_and_not_an_answer() {
    let mut stage = Stage::new();
    let failed = |stage: &Stage, request: &HttpRequest| match ask(&stage.programs(), request, NOT_HELD_UP) {
        Reading::Failed(why) => why,
        other => panic!("{other:?}"),
    };
    for url in ["file:///etc/passwd", "http://h/ -o x", "http://h/\n-o", "-K", ""] {
        assert!(failed(&stage, &HttpRequest::get(url)).contains("invalid http:// or https:// address"), "{url}");
    }
    let request = HttpRequest { trust: Trust::Authority("ca.pem".to_owned()), ..HttpRequest::get("https://h/") };
    assert!(failed(&stage, &request).contains("invalid absolute path"));
    stage.only(&[]);
    assert_eq!(failed(&stage, &HttpRequest::get("http://h/")), "asking http://h/ needs curl or wget on the host");
}

fn remote(url: String, digest: Digest) -> Remote {
    Remote { url, digest, limit: 100_000, headers: std::collections::BTreeMap::new(), timeout: Duration::from_secs(20) }
}

#[test]
fn a_download_is_whole_and_right_or_not_believed() {
    with_curl_and_with_wget(|stage, tool| {
        let body: &[u8] = b"#!/bin/sh\n\0\xff";
        let ((address, _asked), right) = (serve(body), Digest::of(body));
        let get = |path: &str, digest: &Digest| {
            let mut sink = Vec::new();
            let remote = remote(format!("{address}{path}"), digest.clone());
            fetch(&stage.programs(), &remote, "/opt/file", &mut sink).map(|()| sink).map_err(|failure| failure.why)
        };
        for path in ["/missing", "/circle"] {
            let why = get(path, &right).expect_err(path);
            assert!(why.starts_with(&format!("{address}{path} could not be fetched: ")), "{tool} {why}");
        }
        for path in ["/endless", "/large"] {
            let why = get(path, &right).expect_err(path);
            let large = why.contains("is larger than 100000 bytes: if that is right, raise `max_size`");
            assert!(large || (tool == "wget" && path == "/large"), "{tool} {why}");
        }
        let other = Digest::of(b"other");
        let why = get("/file", &other).expect_err("another digest");
        assert_eq!(
            why,
            format!("/opt/file: what came has the SHA-256 {} and not {}: it was thrown away", right.0, other.0)
        );
        assert_eq!(get("/file", &right).as_deref(), Ok(body), "{tool}");
        assert_eq!(get("/moved", &right).as_deref(), Ok(body), "{tool}");
    });
}

#[test]
fn a_file_that_hangs_or_cannot_be_kept_is_told() {
    let stage = Stage::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/x", silent.local_addr().expect("its address"));
    let slow = Remote { timeout: Duration::from_secs(1), ..remote(url.clone(), Digest::of(b"")) };
    let failed = fetch(&stage.programs(), &slow, "/x", &mut Vec::new()).expect_err("it hangs");
    assert_eq!(failed.why, format!("{url} was not fetched within 1 s: if that is right, raise `timeout`"));
    let (address, _asked) = serve(b"content");
    let mut full = std::fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let failed = fetch(&stage.programs(), &remote(format!("{address}/file"), Digest::of(b"content")), "/x", &mut full);
    let why = failed.expect_err("there is no room").why;
    assert!(why.starts_with("/x: what came from") && why.ends_with("No space left on device"), "{why}");
}

#[test]
fn a_secret_header_reaches_the_server_and_no_list_of_processes() {
    let stage = Stage::new();
    let body: &[u8] = b"content";
    let (address, asked) = serve(body);
    let mut one = remote(format!("{address}/file?key=hunter2"), Digest::of(body));
    let secret = Content::Secret(Secret::new(br#"Bearer a"b\c $x"#.to_vec()));
    one.headers.insert("Authorization".to_owned(), secret);
    // What curl is given as arguments, by a curl of our own before it.
    let folder = stage.path("spy");
    std::fs::create_dir(&folder).expect("a directory");
    let script = format!("#!/bin/sh\necho \"$*\" >>'{folder}/argv'\nexec /usr/bin/curl \"$@\"\n");
    let mut writer = std::process::Command::new("sh");
    writer.args(["-c", "printf %s \"$1\" >\"$0\"; chmod 755 \"$0\"", &format!("{folder}/curl"), &script]);
    assert!(writer.status().expect("sh").success());
    let mut spied = stage.environment.clone();
    spied.insert("PATH".into(), format!("{folder}:/usr/bin:/bin").into());
    let programs = Programs { environment: &spied, ..stage.programs() };
    let got = |remote: &Remote| fetch(&programs, remote, "/x", &mut Vec::new());
    // The server knows the address without its question only.
    let why = got(&one).expect_err("there is no such file").why;
    assert!(why.contains("could not be fetched"), "{why}");
    assert!(asked.recv().expect("a request").contains("Authorization: Bearer a\"b\\c $x\r\n"));
    one.url = format!("{address}/file");
    got(&one).expect("the file");
    asked.recv().expect("a request");
    let argv = std::fs::read_to_string(format!("{folder}/argv")).expect("what curl was given");
    assert!(argv.contains("--max-filesize") && !argv.contains("Bearer") && !argv.contains("hunter2"), "{argv}");
    one.url = format!("{address}/moved");
    assert!(got(&one).expect_err("a redirect with a secret").why.contains("could not be fetched"));
    assert!(asked.recv().expect("a request").starts_with("GET /moved"));
    assert!(asked.try_recv().is_err(), "it was sent on");
    for (name, value) in [("a b", "x"), ("", "x"), ("A", "x\r\nB: y"), ("A:", "x")] {
        one.headers = [(name.to_owned(), Content::from(value))].into();
        assert!(got(&one).expect_err("no header").why.contains("invalid request header"), "{name}");
    }
}

#[test]
fn what_a_host_cannot_fetch_names_what_is_missing() {
    let mut stage = Stage::new();
    stage.only(&["wget", "cat"]);
    let why = |stage: &Stage, remote: &Remote| {
        fetch(&stage.programs(), remote, "/x", &mut Vec::new()).expect_err("it cannot").why
    };
    let mut secret = remote("http://127.0.0.1:1/file".to_owned(), Digest::of(b""));
    secret.headers.insert("A".to_owned(), "b".into());
    assert!(why(&stage, &secret).contains("`headers` need curl on the host: add its package"));
    let mut bare = Stage::new();
    bare.only(&[]);
    assert!(why(&bare, &secret).contains("this host has no curl: add its package"));
    assert!(why(&bare, &remote("ftp://h/x".to_owned(), Digest::of(b""))).contains("it must begin with http://"));
    // A wget that is not GNU's.
    let mut busybox = Stage::new();
    let folder = busybox.path("busybox");
    std::fs::create_dir(&folder).expect("a directory");
    std::os::unix::fs::symlink("/bin/false", format!("{folder}/wget")).expect("a link");
    busybox.environment.insert("PATH".into(), folder.into());
    let plain = remote("https://127.0.0.1:1/file".to_owned(), Digest::of(b""));
    assert!(why(&busybox, &plain).contains("does not check certificates: add the package curl"));
}

/// A web API that knows `/there`, and refuses `/no` with words; gives its address and what it was sent.
fn serve_api() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    let (told, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut bytes = vec![0; 64 << 10];
            let count = stream.read(&mut bytes).unwrap_or_default();
            let request = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let status = match request.split(' ').nth(1).unwrap_or_default() {
                "/there" => "200 OK",
                "/made" => "201 Created",
                "/moved" => "302 Found\r\nLocation: /there",
                "/no" => "422 No",
                _ => "404 Not Found",
            };
            let _ = told.send(request);
            let answer = "first\nsecond";
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
            let _ = stream.write_all((head + answer).as_bytes());
        }
    });
    (address, asked)
}

fn request(method: &str, url: String) -> ApiRequest {
    let token = Content::Secret(Secret::new(b"Bearer \"hunter2\\".to_vec()));
    let headers = [("Authorization".to_owned(), token), ("Content-Type".to_owned(), Content::from("text/x"))].into();
    let body = (method != "GET").then(|| Content::from("@{\"a\":\n\"b\\\\\"}"));
    let (timeout, trust) = (Duration::from_secs(20), Trust::System);
    ApiRequest { method: method.to_owned(), url, headers, body, trust, timeout, retries: 0 }
}

fn sent(
    stage: &Stage,
    request: ApiRequest,
    accepted: &[u16],
    unless: Option<ApiRequest>,
) -> crate::host::Result<Outcome> {
    send(&stage.programs(), &Sending { request, accepted: accepted.to_vec(), unless })
}

#[test]
fn a_request_says_exactly_what_it_was_given() {
    let (stage, (address, asked)) = (Stage::new(), serve_api());
    assert_eq!(sent(&stage, request("PATCH", format!("{address}/made?a=[b]")), &[404], None), Ok(Outcome::Done));
    let told = asked.try_recv().expect("a request");
    assert!(told.starts_with("PATCH /made?a=[b] HTTP/1.1\r\n"), "{told}");
    assert!(told.contains("\r\nAuthorization: Bearer \"hunter2\\\r\n"), "{told}");
    assert!(told.ends_with("\r\n\r\n@{\"a\":\n\"b\\\\\"}"), "a body is never a file: {told}");
}

#[test]
fn the_status_decides_and_no_redirect_is_followed() {
    let (stage, (address, asked)) = (Stage::new(), serve_api());
    let delete =
        |path: &str, accepted: &[u16]| sent(&stage, request("DELETE", format!("{address}{path}")), accepted, None);
    assert_eq!(delete("/there", &[]), Ok(Outcome::Done));
    assert_eq!(delete("/gone", &[404, 410]), Ok(Outcome::Done));
    for (path, why) in [("/gone", "404"), ("/moved", "302"), ("/no", "422")] {
        let failure = delete(path, &[]).expect_err("it is refused");
        assert_eq!((failure.exit, failure.why), (22, format!("the server answered {why}: first\nsecond")));
    }
    assert_eq!(asked.try_iter().count(), 5);
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let failure = sent(&stage, request("POST", format!("http://{closed}/")), &[], None).expect_err("nobody is there");
    assert_eq!(failure.exit, 7);
    assert!(failure.why.contains("curl: (7)"), "{failure:?}");
    let failure = sent(&stage, request("POST", "file:///etc/passwd".to_owned()), &[], None).expect_err("no address");
    assert!(failure.why.contains("invalid http:// or https:// address"), "{failure:?}");
}

#[test]
fn what_is_there_is_not_made_again() {
    let (mut stage, (address, asked)) = (Stage::new(), serve_api());
    let post = |stage: &Stage, read: &str| {
        let question = request("GET", format!("{address}{read}"));
        sent(stage, request("POST", format!("{address}/made")), &[404], Some(question))
    };
    assert_eq!(post(&stage, "/there"), Ok(Outcome::NotNeeded));
    assert_eq!(asked.try_iter().count(), 1);
    assert_eq!(post(&stage, "/gone"), Ok(Outcome::Done), "what is accepted of the request is not of the question");
    assert_eq!(asked.try_iter().count(), 2);
    stage.only(&["cat"]);
    let failure = post(&stage, "/there").expect_err("no curl");
    assert!(failure.exit == 127 && failure.why.contains("needs curl"), "{failure:?}");
}
