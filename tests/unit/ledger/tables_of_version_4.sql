CREATE TABLE absorbed (
    run INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    batches BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (run, kind, worker),
    CHECK (run >= 1),
    CHECK (kind IN ('redelivered', 'answered', 'repeated')),
    CHECK (batches >= 0),
    CHECK (messages >= 0)
);

CREATE TABLE batches (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    first_index BIGINT NOT NULL,
    size BIGINT NOT NULL,
    queued_at FLOAT(53) NOT NULL,
    published_at FLOAT(53),
    writer VARCHAR(64) NOT NULL,
    link INTEGER NOT NULL,
    PRIMARY KEY (run, number),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (number >= 0),
    CHECK (first_index >= 0),
    CHECK (size >= 1),
    CHECK (queued_at >= 0),
    CHECK (published_at >= 0),
    CHECK (link >= 1)
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
    PRIMARY KEY (run, profile, worker),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (settlements >= 1),
    CHECK (first_attempts >= 0),
    CHECK (attempts >= 0),
    CHECK (delivered >= 0),
    CHECK (failed >= 0),
    CHECK (expired >= 0),
    CHECK (cancelled >= 0),
    CHECK (retried >= 0),
    CHECK (send_seconds >= 0),
    CHECK (delivery_seconds >= 0),
    CHECK (transit_seconds >= 0),
    CHECK (longest_delivery >= 0),
    CHECK (last_settled_at >= 0)
);

CREATE TABLE delivery_times (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    bucket INTEGER NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (run, profile, worker, bucket),
    CHECK (bucket <= 255),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (bucket >= 0),
    CHECK (messages >= 0)
);

CREATE TABLE dispatched (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    batches BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    last_at FLOAT(53) NOT NULL,
    PRIMARY KEY (run, profile),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (batches >= 1),
    CHECK (messages >= 1),
    CHECK (last_at >= 0)
);

CREATE TABLE failures (
    run INTEGER NOT NULL,
    message_index BIGINT NOT NULL,
    batch INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    reason VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    failed_at FLOAT(53) NOT NULL,
    PRIMARY KEY (run, message_index),
    CHECK (run >= 1),
    CHECK (message_index >= 0),
    CHECK (batch >= 0),
    CHECK (reason IN ('failed', 'expired')),
    CHECK (attempts >= 1),
    CHECK (failed_at >= 0)
);

CREATE TABLE handed_over (
    run INTEGER NOT NULL,
    source VARCHAR(64) NOT NULL,
    target VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    messages BIGINT NOT NULL,
    untried BIGINT NOT NULL,
    PRIMARY KEY (run, source, target, worker),
    CHECK (source <> target),
    CHECK (untried <= messages),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (messages >= 1),
    CHECK (untried >= 0)
);

CREATE TABLE ledger_identity (
    row INTEGER NOT NULL,
    id VARCHAR(64) NOT NULL,
    schema_version INTEGER NOT NULL,
    PRIMARY KEY (row),
    CHECK (row >= 0),
    CHECK (schema_version >= 0)
);

CREATE TABLE links (
    run INTEGER NOT NULL,
    writer VARCHAR(64) NOT NULL,
    place INTEGER NOT NULL,
    digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (run, writer, place),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (place >= 1)
);

CREATE TABLE measurements (
    id SERIAL NOT NULL,
    machine VARCHAR(128) NOT NULL,
    embedded BOOLEAN NOT NULL,
    measured_at FLOAT(53) NOT NULL,
    costs TEXT NOT NULL,
    PRIMARY KEY (id),
    CHECK (id >= 1),
    CHECK (measured_at >= 0)
);

CREATE TABLE receipt_counters (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    receipts BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    seconds FLOAT(53) NOT NULL,
    longest FLOAT(53) NOT NULL,
    PRIMARY KEY (run, profile, worker),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (receipts >= 0),
    CHECK (missing >= 0),
    CHECK (seconds >= 0),
    CHECK (longest >= 0)
);

CREATE TABLE receipt_times (
    run INTEGER NOT NULL,
    profile VARCHAR(64) NOT NULL,
    worker VARCHAR(128) NOT NULL,
    bucket INTEGER NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (run, profile, worker, bucket),
    CHECK (bucket <= 255),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (bucket >= 0),
    CHECK (messages >= 0)
);

CREATE TABLE receipts (
    run INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    receipts BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    seconds FLOAT(53) NOT NULL,
    PRIMARY KEY (run, batch, attempt),
    FOREIGN KEY(run, batch, attempt) REFERENCES settlements (run, batch, attempt),
    CHECK (run >= 1),
    CHECK (batch >= 0),
    CHECK (attempt >= 0),
    CHECK (receipts >= 0),
    CHECK (missing >= 0),
    CHECK (seconds >= 0)
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
    boot VARCHAR(128),
    "offset" FLOAT(53) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (id),
    CHECK (next_index <= total),
    CHECK (next_batch <= next_index),
    CHECK (id >= 1),
    CHECK (started_at >= 0),
    CHECK (seed >= 0),
    CHECK (total >= 1),
    CHECK (control IN ('running', 'paused', 'cancelled')),
    CHECK (next_index >= 0),
    CHECK (next_batch >= 0),
    CHECK ("offset" >= 0)
);

CREATE TABLE seals (
    run INTEGER NOT NULL,
    seal VARCHAR(64) NOT NULL,
    sealed_at FLOAT(53) NOT NULL,
    PRIMARY KEY (run),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (run >= 1),
    CHECK (sealed_at >= 0)
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
    writer VARCHAR(64) NOT NULL,
    link INTEGER NOT NULL,
    PRIMARY KEY (run, batch, attempt),
    FOREIGN KEY(run, batch) REFERENCES batches (run, number),
    CHECK (messages = delivered + failed + expired + cancelled + retried),
    CHECK ((retried = 0) = (remainder IS NULL)),
    CHECK ((attempt = 0) = (taken IS NULL)),
    CHECK (run >= 1),
    CHECK (batch >= 0),
    CHECK (attempt >= 0),
    CHECK (messages >= 0),
    CHECK (delivered >= 0),
    CHECK (failed >= 0),
    CHECK (expired >= 0),
    CHECK (cancelled >= 0),
    CHECK (retried >= 0),
    CHECK (send_seconds >= 0),
    CHECK (delivery_seconds >= 0),
    CHECK (transit_seconds >= 0),
    CHECK (settled_at >= 0),
    CHECK (link >= 1)
);

CREATE INDEX settlements_in_order ON settlements (run, settled_at);

CREATE TABLE steps (
    id SERIAL NOT NULL,
    run INTEGER NOT NULL,
    what VARCHAR(16) NOT NULL,
    at FLOAT(53) NOT NULL,
    idle_seconds FLOAT(53) NOT NULL,
    writer VARCHAR(64) NOT NULL,
    link INTEGER NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(run) REFERENCES runs (id),
    CHECK (id >= 1),
    CHECK (run >= 1),
    CHECK (what IN ('paused', 'continued', 'cancelled', 'resumed')),
    CHECK (at >= 0),
    CHECK (idle_seconds >= 0),
    CHECK (link >= 1)
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
    digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (id, profile),
    CHECK (failure_rate <= 1),
    CHECK (senders >= 1),
    CHECK (mean_time >= 0),
    CHECK (failure_rate >= 0),
    CHECK (heartbeat >= 0),
    CHECK (joined_at >= 0),
    CHECK (left_at >= 0),
    CHECK (shape >= 0),
    CHECK (max_time >= 0),
    CHECK (seen_at >= 0)
);
