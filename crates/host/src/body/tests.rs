use super::*;

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Says that it was dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn e25_what_a_guest_does_after_its_response_ends_after_thirty_seconds() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    let faults = Faults {
        events: Arc::new(move |event| {
            if let Event::Failed { error, .. } = event {
                telling.lock().unwrap().push(error.to_string());
            }
        }),
        component: "shop".parse().unwrap(),
        request_id: RequestId::next(),
    };
    let is_gone = Arc::<AtomicBool>::default();
    let gone = Gone(is_gone.clone());
    let for_ever = async move {
        let _gone = gone;
        std::future::pending().await
    };
    let work = tokio::spawn(in_time(for_ever, Some(faults)));

    tokio::time::sleep(caps::AFTER_RESPONSE - Duration::from_millis(1)).await;
    assert!(!is_gone.load(Ordering::Relaxed));
    work.await.unwrap();

    assert!(is_gone.load(Ordering::Relaxed));
    assert_eq!(
        *told.lock().unwrap(),
        ["went on for 30s after its response had ended"]
    );
}
