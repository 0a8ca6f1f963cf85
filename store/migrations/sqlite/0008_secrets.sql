-- Secrets of organizations. Values are sealed by the platform; the database never has
-- the key.
--
-- For the operator: adds a table, and rewrites nothing. Going down drops it WITH ITS DATA: organizations have to write their secrets again.

-- +goose Up
CREATE TABLE secrets (
    org_id     TEXT NOT NULL REFERENCES organizations (id),
    name       TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    version    INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- +goose Down
DROP TABLE secrets;
