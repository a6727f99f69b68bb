//! A flag that many tasks wait for, woken in order.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Raised once, when a node stops. Clones are the same flag.
#[derive(Debug, Clone)]
pub struct Stop {
    // No permit is ever given, so waiting ends only when the semaphore is closed; its waiters wake first come, first served,
    // which a watch channel would not promise under the simulator.
    raised: Arc<Semaphore>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop { raised: Arc::new(Semaphore::new(0)) }
    }
}

impl Stop {
    pub fn raise(&self) {
        self.raised.close();
    }

    pub fn is_raised(&self) -> bool {
        self.raised.is_closed()
    }

    /// Resolves once the flag is raised.
    pub async fn wait(&self) {
        let _ = self.raised.acquire().await;
    }
}
