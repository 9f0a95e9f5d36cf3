//! An admitted request allocates nothing beyond what the bare service allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use plimsoll_core::{MB, Plimsoll};
use plimsoll_guard::{ChargedBody, GuardConfig, MemoryGuardLayer};
use plimsoll_testkit::ScriptedSource;
use tower::{Layer, Service, service_fn};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts by thread: the sampler has one of its own.
struct Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: hands every call to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Serves one request to the end of its body; returns the allocations that it took.
fn allocations<S, Q, B>(service: &mut S, request: Request<Q>) -> u64
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body,
{
    let before = ALLOCATIONS.with(Cell::get);
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    {
        let mut future = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut context) else {
            panic!("the service answers at once")
        };
        assert_eq!(response.status(), 200);
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context) {
            drop(frame);
        }
    }
    ALLOCATIONS.with(Cell::get) - before
}

/// With one allocation, so that the count is seen to work.
fn answer() -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from(Box::from([7_u8; 100])))))
}

fn request(method: Method) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    if method == Method::POST {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("1024"));
    }
    *request.method_mut() = method;
    request
}

#[tokio::test]
async fn an_admitted_request_allocates_nothing_of_ours() {
    let (source, script) = ScriptedSource::new();
    script.set_rss(100 * MB);
    let plimsoll = Plimsoll::builder().start_with(source).expect("readable");
    let config = GuardConfig::new(&plimsoll)
        .exempt("/livez")
        .cost(|head| (head.uri.path() == "/export").then_some(MB));
    let mut bare = service_fn(async |_: Request<Empty<Bytes>>| answer());
    for config in [GuardConfig::new(&plimsoll), config] {
        let mut guarded = MemoryGuardLayer::new(config).layer(bare);
        for method in [Method::GET, Method::POST] {
            assert_eq!(allocations(&mut bare, request(method.clone())), 1);
            assert_eq!(allocations(&mut guarded, request(method.clone())), 1, "held, {method}");
            assert_eq!(allocations(&mut guarded.clone(), request(method.clone())), 1, "cloned");
        }
    }
}

#[tokio::test]
async fn charging_bodies_allocates_once_and_only_for_one_whose_length_is_not_known() {
    let (source, script) = ScriptedSource::new();
    script.set_rss(100 * MB);
    let plimsoll = Plimsoll::builder().start_with(source).expect("readable");
    let layer = MemoryGuardLayer::new(GuardConfig::new(&plimsoll)).charging_bodies();
    let mut guarded = layer.layer(service_fn(async |_| answer()));
    for method in [Method::GET, Method::POST] {
        assert_eq!(allocations(&mut guarded, request(method.clone())), 1, "held, {method}");
        assert_eq!(allocations(&mut guarded.clone(), request(method.clone())), 1, "cloned");
    }
    let chunk = Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[7; 1_000])));
    let mut guarded = layer.layer(service_fn(async |request: Request<ChargedBody<_>>| {
        let mut body = pin!(request.into_body());
        assert!(body.frame().await.is_some());
        answer()
    }));
    let body = StreamBody::new(futures_util::stream::iter([chunk]));
    assert_eq!(allocations(&mut guarded, Request::new(body)), 2);
}
