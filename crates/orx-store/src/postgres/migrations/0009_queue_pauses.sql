-- Paused queues: none of their jobs is claimed.
create table queue_pauses (
    queue bigint primary key,
    paused_at bigint not null,
    reason text,
    paused_by text
);
