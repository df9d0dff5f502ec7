//! The lanes of the runtime as all that there is of the world around a core.

use cache_service::engine::host::{Host, Notice};
use cache_service::parcel::Parcel;
use cache_service::runtime::lanes::Lanes;

/// One end of them.
#[derive(Debug)]
pub struct OnLanes(pub Lanes);

impl Host for OnLanes {
    fn send(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        self.0.send(parcel)
    }

    fn reply(&mut self, parcel: Box<Parcel>) {
        self.0.reply(parcel);
    }

    fn notice(&mut self, notice: Notice) {
        panic!("nothing to tell: {notice:?}");
    }
}
