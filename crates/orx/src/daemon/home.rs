//! One home: of several copies of a store, only one is served.
//!
//! `orx store copy` marks its source as moved. A file that was copied in another way is recognised by
//! its id, for as long as its original is still where it was served. Two copies are not recognised: one
//! on another machine, and one of a PostgreSQL database.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use orx_store::{Home, Store, sqlite_store_id};

use super::store::{StoreLocation, store_error};
use crate::error::{CliError, Exit};

/// Rejects a store that must not be served, else records that it is served here. With `force` it becomes
/// the home in any case.
///
/// # Errors
/// It has moved, is incomplete, or its original still exists.
pub(crate) async fn claim_home(
    store: &dyn Store,
    place: &StoreLocation,
    force: bool,
) -> Result<(), CliError> {
    let known = store.home().await.map_err(store_error)?;
    let mut home = known.clone();
    if force {
        (home.moved_to, home.copying_from) = (None, None);
    }
    refuse_moved(&home, place)?;
    if let Some(from) = &home.copying_from {
        let message = format!("the store `{}` is a copy that is not whole", place.shown());
        let hint = format!("`orx store copy --resume {from} {}` continues it", place.name());
        return Err(conflict("not_whole", message)
            .cause(format!("the copy from `{from}` was interrupted"))
            .hint(hint));
    }
    if let Some(file) = place.file() {
        let here = file.canonicalize().unwrap_or(file);
        if let Some(there) = home.served_at.as_ref().map(PathBuf::from)
            && !force
        {
            refuse_copy(&known, &here, &there)?;
        }
        home.served_at = Some(here.display().to_string());
    }
    if home != known {
        if let Some(to) = &known.moved_to {
            tracing::warn!(
                to,
                "the store had moved: with `--force-source` it is served here again"
            );
        }
        store.put_home(home).await.map_err(store_error)?;
    }
    Ok(())
}

/// # Errors
/// Everything was copied to another store.
pub(crate) fn refuse_moved(home: &Home, place: &StoreLocation) -> Result<(), CliError> {
    let Some(to) = &home.moved_to else { return Ok(()) };
    let instead = match StoreLocation::parse(to) {
        Ok(StoreLocation::Url(_)) => format!(
            "daemons: `ORX_STORE_URL={to}`, or `[store] url`; commands: `ORX_URL` or a context \
             names a coordinator"
        ),
        _ => format!("`ORX_STATE={to}`, or `--state {to}`"),
    };
    let message = format!("the store `{}` has moved to `{to}`", place.shown());
    Err(conflict("moved", message)
        .cause("everything was copied there, and two servers would run each job twice")
        .hint(format!("{instead}; `--force-source` takes this one all the same")))
}

/// Rejects the file `here` where `there`, its last place of service, still is another file with this id.
fn refuse_copy(home: &Home, here: &Path, there: &Path) -> Result<(), CliError> {
    if here == there {
        return Ok(());
    }
    let (Ok(own), Ok(other)) = (here.metadata(), there.metadata()) else { return Ok(()) };
    let (shown, other_shown) = (here.display(), there.display());
    if (own.dev(), own.ino()) == (other.dev(), other.ino()) {
        // One file under two mounts has its log in both places; one with two names does not.
        if own.nlink() == 1 {
            return Ok(());
        }
        return Err(conflict(
            "copy",
            format!("the store `{shown}` is `{other_shown}` by another name"),
        )
        .cause("what was written last may stand in a file beside that name")
        .hint("serve it by that name, or remove the name first"));
    }
    if sqlite_store_id(there).as_deref() != Some(home.id.as_str()) {
        return Ok(());
    }
    Err(conflict(
        "copy",
        format!("the store `{shown}` is a copy of `{other_shown}`, which is still there"),
    )
    .cause("two servers, one on each, would run each job twice")
    .hint("serve that one, or remove it; `--force-source` serves the copy all the same"))
}

fn conflict(code: &'static str, message: String) -> CliError {
    CliError::new(Exit::Conflict, code, message)
}
