CREATE TABLE absorbed (
    run INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    batches BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (run, kind, worker)
);

CREATE TABLE batches (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    first_index BIGINT NOT NULL,
    size BIGINT NOT NULL,
    queued_at FLOAT(53) NOT NULL,
    published_at FLOAT(53),
    PRIMARY KEY (run, number)
);

CREATE TABLE counters (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    settlements BIGINT NOT NULL,
    first_attempts BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    retried BIGINT NOT NULL,
    send_seconds FLOAT(53) NOT NULL,
    delivery_seconds FLOAT(53) NOT NULL,
    transit_seconds FLOAT(53) NOT NULL,
    longest_delivery FLOAT(53) NOT NULL,
    last_settled_at FLOAT(53) NOT NULL,
    PRIMARY KEY (run, profile, worker)
);

CREATE TABLE delivery_times (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    bucket INTEGER NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (run, profile, worker, bucket)
);

CREATE TABLE dispatched (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    batches BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    last_at FLOAT(53) NOT NULL,
    PRIMARY KEY (run, profile)
);

CREATE TABLE failures (
    run INTEGER NOT NULL,
    message_index BIGINT NOT NULL,
    batch INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    reason VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at FLOAT(53) NOT NULL,
    PRIMARY KEY (run, message_index)
);

CREATE TABLE ledger_identity (
    row INTEGER NOT NULL,
    id VARCHAR(64) NOT NULL,
    schema_version INTEGER NOT NULL,
    PRIMARY KEY (row)
);

CREATE TABLE runs (
    id SERIAL NOT NULL,
    started_at FLOAT(53) NOT NULL,
    seed BIGINT NOT NULL,
    total BIGINT NOT NULL,
    simulation TEXT NOT NULL,
    embedded BOOLEAN NOT NULL,
    control VARCHAR(16) NOT NULL,
    next_index BIGINT NOT NULL,
    next_batch INTEGER NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE settlements (
    run INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    messages BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    retried BIGINT NOT NULL,
    send_seconds FLOAT(53) NOT NULL,
    delivery_seconds FLOAT(53) NOT NULL,
    transit_seconds FLOAT(53) NOT NULL,
    settled_at FLOAT(53) NOT NULL,
    taken BYTEA,
    remainder BYTEA,
    PRIMARY KEY (run, batch, attempt)
);

CREATE INDEX settlements_in_order ON settlements (run, settled_at);

CREATE TABLE steps (
    id SERIAL NOT NULL,
    run INTEGER NOT NULL,
    what VARCHAR(16) NOT NULL,
    at FLOAT(53) NOT NULL,
    idle_seconds FLOAT(53) NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE workers (
    id VARCHAR(128) NOT NULL,
    profile VARCHAR(64) NOT NULL,
    senders INTEGER NOT NULL,
    mean_time FLOAT(53) NOT NULL,
    failure_rate FLOAT(53) NOT NULL,
    heartbeat BIGINT NOT NULL,
    joined_at FLOAT(53) NOT NULL,
    left_at FLOAT(53),
    shape FLOAT(53) NOT NULL,
    max_time FLOAT(53),
    seen_at FLOAT(53) NOT NULL,
    PRIMARY KEY (id, profile)
);
