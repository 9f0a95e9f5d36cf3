//! Whatever order chunks, answers and drops come in.

use futures_util::FutureExt;
use http::Response;
use http_body_util::BodyExt;
use plimsoll_core::{MB, Priority};
use plimsoll_testkit::ScriptedBody;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tower_test::mock::SendResponse;

use super::{Answer, Polled, call, charging, upload};
use crate::support::{Reply, Ship};

/// What the ship's highest line leaves to requests.
const HIGH: u64 = 280 * MB;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Chunks of so many MB each, and how much of them a header declares.
    Begin {
        chunks: usize,
        megabytes: u64,
        declared: u64,
        high: bool,
    },
    Read(usize),
    DropBody(usize),
    Answer(usize),
    PollAnswer(usize),
    DropAnswer(usize),
    ReadResponse(usize),
    DropResponse(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0_usize..6;
    let begin = (0_usize..6, 0_u64..60, 0_u64..100, any::<bool>()).prop_map(
        |(chunks, megabytes, declared, high)| Step::Begin { chunks, megabytes, declared, high },
    );
    let step = prop_oneof![
        2 => begin,
        5 => which.clone().prop_map(Step::Read),
        1 => which.clone().prop_map(Step::DropBody),
        1 => which.clone().prop_map(Step::Answer),
        2 => which.clone().prop_map(Step::PollAnswer),
        1 => which.clone().prop_map(Step::DropAnswer),
        1 => which.clone().prop_map(Step::ReadResponse),
        1 => which.prop_map(Step::DropResponse),
    ];
    vec(step, 0..60)
}

type Responding = plimsoll_guard::ChargingGuardBody<ScriptedBody>;

/// What is left of one request.
#[derive(Default)]
struct Request {
    body: Option<Polled>,
    reply: Option<SendResponse<Reply>>,
    answer: Option<Answer>,
    response: Option<Responding>,
    last: Vec<http_body::Frame<bytes::Bytes>>,
}

#[tokio::test]
async fn chunks_answers_and_drops_in_any_order_stay_under_the_line_and_end_at_zero() {
    let ship = Ship::idle();
    let config = ship.config().priority(|head| match head.headers.contains_key("high") {
        true => Priority::High,
        false => Priority::Normal,
    });
    let (service, inner) = charging(config);
    let world = std::sync::Mutex::new((service, inner));
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let tested = runner.run(&steps(), |steps| {
        let (service, inner) = &mut *world.lock().unwrap();
        let mut requests: Vec<Request> = Vec::new();
        for step in steps {
            match step {
                Step::Begin { chunks, megabytes, declared, high } => {
                    let mut request = upload(super::chunks(chunks, megabytes * MB));
                    if declared > 0 {
                        request.headers_mut().insert("content-length", (declared * MB).into());
                    }
                    if high {
                        request.headers_mut().insert("high", 1.into());
                    }
                    let mut begun =
                        Request { answer: Some(call(service, request)), ..Request::default() };
                    // A refused one never gets here.
                    if let Some(Some((request, reply))) = inner.next_request().now_or_never() {
                        begun.body = Some(Polled::new(request));
                        begun.reply = Some(reply);
                    }
                    requests.push(begun);
                }
                Step::Read(which) => {
                    if let Some(body) = requests.get_mut(which).and_then(|it| it.body.as_mut()) {
                        let _ = body.poll();
                    }
                }
                Step::DropBody(which) => {
                    requests.get_mut(which).map(|it| it.body.take());
                }
                Step::Answer(which) => {
                    if let Some(reply) = requests.get_mut(which).and_then(|it| it.reply.take()) {
                        let body = ScriptedBody::new().data("load").data(vec![7; 20_000]);
                        reply.send_response(Response::new(body));
                    }
                }
                Step::PollAnswer(which) => {
                    let Some(request) = requests.get_mut(which) else { continue };
                    let Some(answer) = &mut request.answer else { continue };
                    if let std::task::Poll::Ready(answered) = answer.poll() {
                        request.answer = None;
                        request.response = answered.ok().map(Response::into_body);
                    }
                }
                Step::DropAnswer(which) => {
                    requests.get_mut(which).map(|it| it.answer.take());
                }
                Step::ReadResponse(which) => {
                    let Some(request) = requests.get_mut(which) else { continue };
                    let Some(response) = &mut request.response else { continue };
                    request
                        .last
                        .extend(response.frame().now_or_never().flatten().and_then(Result::ok));
                }
                Step::DropResponse(which) => {
                    requests.get_mut(which).map(|it| it.response.take());
                }
            }
            let held = ship.held().1;
            prop_assert!(held <= HIGH, "{} past the line", held - HIGH);
        }
        drop(requests);
        prop_assert_eq!(ship.held(), (0, 0));
        Ok(())
    });
    tested.unwrap();
    assert!(ship.figures().shed > 0, "some did not fit");
    assert_eq!(ship.plimsoll.routes()[0].reserved_bytes, 0);
}
