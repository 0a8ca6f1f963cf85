-- The report of the doctor: what the cluster keeps of what the tiers promise.
--
-- For the operator: adds a table, and rewrites nothing. Going down drops it WITH ITS DATA: the next worker examines the cluster again.

-- +goose Up
CREATE TABLE doctor_reports (
    name         text COLLATE "C" NOT NULL PRIMARY KEY,
    requested_at timestamptz,
    requested_by text COLLATE "C" NOT NULL,
    taken_at     timestamptz,
    leased_until timestamptz,
    finished_at  timestamptz,
    fingerprint  text COLLATE "C" NOT NULL,
    tiers        text COLLATE "C" NOT NULL
);

-- +goose Down
DROP TABLE doctor_reports;
