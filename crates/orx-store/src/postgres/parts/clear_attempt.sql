-- Part of an `update jobs`: no attempt is live any more.
execution = null,
worker = null,
worker_name = null,
epoch = null,
claimed_at = null,
started_at = null,
percent = null,
progress = null
