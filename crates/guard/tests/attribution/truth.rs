//! What routes are told to hold, against what their handlers know by their own arithmetic.

use super::*;

/// How a handler comes to hold what it holds.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// One block, held over awaits.
    AtOnce,
    /// Pieces that come one by one, after scratch space of the same size that is gone by then.
    Pieces,
    /// A vector that doubles as it grows, so that the old and the new block are there at once.
    Doubling,
    /// In a task of its own.
    Spawned,
    /// Given away in the response's body.
    Answered,
}

/// Routes by what one request of each holds at most, and how.
const FLEET: [(&str, usize, Way); 9] = [
    ("/tiny", 2_000, Way::AtOnce),
    ("/small", 60_000, Way::Pieces),
    ("/search", 700_000, Way::Doubling),
    ("/page", 900_000, Way::Answered),
    ("/export", 6_000_000, Way::Pieces),
    ("/thumbnail", 3_500_000, Way::AtOnce),
    ("/report", 2_800_000, Way::Spawned),
    ("/archive", 9_000_000, Way::Answered),
    ("/import", 4_600_000, Way::Doubling),
];

/// Does as its route does; what it has allocated in all, by its own arithmetic.
async fn works(bytes: usize, way: Way) -> (u64, Vec<u8>) {
    let mut answer = Vec::new();
    let allocated = match way {
        Way::AtOnce => {
            let held = black_box(vec![1_u8; bytes]);
            tokio::task::yield_now().await;
            held.len()
        }
        Way::Pieces => {
            drop(black_box(vec![1_u8; bytes / 10]));
            let mut pieces = Vec::with_capacity(10);
            for _ in 0..10 {
                pieces.push(black_box(vec![1_u8; bytes / 10]));
                tokio::task::yield_now().await;
            }
            bytes / 10 + pieces.iter().map(Vec::len).sum::<usize>()
        }
        Way::Doubling => {
            // Two thirds and one third: the last two blocks.
            let mut held: Vec<u8> = black_box(Vec::with_capacity(bytes / 3));
            held.resize(bytes / 3, 1);
            tokio::task::yield_now().await;
            let mut grown = black_box(Vec::with_capacity(bytes / 3 * 2));
            grown.extend_from_slice(&held);
            drop(held);
            tokio::task::yield_now().await;
            bytes / 3 + grown.capacity()
        }
        Way::Spawned => {
            let task = async move {
                let held = black_box(vec![1_u8; bytes]);
                tokio::task::yield_now().await;
                held.len()
            };
            tokio::spawn(task.attributed()).await.unwrap()
        }
        Way::Answered => {
            answer = black_box(vec![1_u8; bytes]);
            tokio::task::yield_now().await;
            answer.len()
        }
    };
    (u64::try_from(allocated).unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_five_largest_routes_are_told_within_a_twentieth_of_the_truth() {
    const REQUESTS: usize = 40;
    let ship = ship();
    let config = GuardConfig::new(&ship.plimsoll).route(|head| {
        let path = head.uri.path();
        FLEET.iter().find(|(name, ..)| *name == path).map(|(name, ..)| (*name).into())
    });
    let truths: Arc<[AtomicU64; FLEET.len()]> = Arc::default();
    let counted = Arc::clone(&truths);
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        let truths = Arc::clone(&counted);
        async move {
            let path = request.uri().path();
            let index = FLEET.iter().position(|(name, ..)| *name == path).unwrap();
            let (_, bytes, way) = FLEET[index];
            let (allocated, answer) = works(bytes, way).await;
            truths[index].fetch_add(allocated, Relaxed);
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
        }
    });
    let service = MemoryGuardLayer::new(config).layer(inner);
    // Mixed on both workers, two of them always in flight.
    let mut clients = tokio::task::JoinSet::new();
    for first in [0, 1] {
        let service = service.clone();
        clients.spawn(async move {
            for turn in (first..REQUESTS * FLEET.len()).step_by(2) {
                let request = Request::builder().uri(FLEET[turn % FLEET.len()].0);
                let answer = service.clone().oneshot(request.body(Full::default()).unwrap()).await;
                assert_eq!(answer.unwrap().status(), 200);
            }
        });
    }
    clients.join_all().await;

    let told: Vec<_> = ship.plimsoll.routes();
    let by = |figure: fn(&plimsoll_core::RouteMemory) -> u64| {
        let figures = told.iter().filter_map(|route| Some((&*route.name, figure(&route.memory?))));
        let mut figures: Vec<(&str, u64)> = figures.collect();
        figures.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        figures.truncate(5);
        figures
    };
    let truly = |figure: fn(usize, &[AtomicU64; FLEET.len()]) -> u64| {
        let names = FLEET.iter().enumerate();
        let mut figures: Vec<_> =
            names.map(|(index, (name, ..))| (*name, figure(index, &truths))).collect();
        figures.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        figures.truncate(5);
        figures
    };
    let peaks = by(|memory| memory.peak_bytes);
    let true_peaks = truly(|index, _| u64::try_from(FLEET[index].1).unwrap());
    let totals = by(|memory| memory.allocated_bytes);
    let true_totals = truly(|index, truths| truths[index].load(Relaxed));
    for (told, truth) in [(peaks, true_peaks), (totals, true_totals)] {
        for ((name, bytes), (true_name, true_bytes)) in told.iter().zip(&truth) {
            assert_eq!(name, true_name, "{told:?} where {truth:?} is true");
            let off = bytes.abs_diff(*true_bytes);
            assert!(off * 20 <= *true_bytes, "{name}: {bytes} where {true_bytes} is true");
        }
        assert_eq!(told.len(), truth.len());
    }
}
