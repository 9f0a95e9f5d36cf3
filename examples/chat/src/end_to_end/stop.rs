//! The end.

use super::*;

#[tokio::test]
async fn a_stop_says_goodbye_to_open_sockets_and_ends_the_server() {
    let server = Running::start(&[], false).await;
    let mut ada = server.visitor("Ada").await;
    ada.hear("welcome").await;
    let (code, served) = tokio::join!(ada.close_code(), server.stop());
    assert_eq!(code, Some(1001));
    served.unwrap();
}

#[tokio::test]
async fn a_stop_ends_socket_io_and_lets_nobody_in_any_more() {
    let server = Running::start(&[], false).await;
    let mut talks = Vec::new();
    for protocol in Protocol::ALL {
        talks.push(server.talk(protocol, "Ada").await.unwrap());
    }
    let sockets = server.app.sockets.clone();
    let (ended, served) = tokio::join!(
        async {
            // Ends only if every conversation does.
            for talk in &mut talks {
                while talk.hear().await.is_some() {}
            }
        },
        server.stop(),
    );
    let () = ended;
    served.unwrap();
    assert!(sockets.is_shutting_down());
    let report = sockets.report();
    assert_eq!((report.open, report.closing, report.lingering, report.forced), (0, 0, 0, 0));
}
