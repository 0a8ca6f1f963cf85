-- The report of the doctor: what the cluster keeps of what the tiers promise.
--
-- For the operator: adds a table, and rewrites nothing. Going down drops it WITH ITS DATA: the next worker examines the cluster again.

-- +goose Up
CREATE TABLE doctor_reports (
    name         TEXT NOT NULL PRIMARY KEY,
    requested_at TEXT,
    requested_by TEXT NOT NULL,
    taken_at     TEXT,
    leased_until TEXT,
    finished_at  TEXT,
    fingerprint  TEXT NOT NULL,
    tiers        TEXT NOT NULL
);

-- +goose Down
DROP TABLE doctor_reports;
