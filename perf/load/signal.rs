//! How whoever started this program is kept in step, so that it can look at the server's clocks between the connections and
//! the load, and before the connections close.

use crate::Result;
use std::io::Write as _;

/// Says that all connections are there, and waits for a line.
///
/// # Errors
/// If nobody listens.
pub fn ready() -> Result<()> {
    println!("ready");
    std::io::stdout().flush()?;
    wait()
}

/// Waits for a line, or for the end of the input.
///
/// # Errors
/// If there is no input.
pub fn wait() -> Result<()> {
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}
