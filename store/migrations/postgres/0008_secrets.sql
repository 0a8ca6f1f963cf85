-- Secrets of organizations. Values are sealed by the platform; the database never has
-- the key.
--
-- For the operator: adds a table, and rewrites nothing. Going down drops it WITH ITS DATA: organizations have to write their secrets again.

-- +goose Up
CREATE TABLE secrets (
    org_id     text COLLATE "C" NOT NULL REFERENCES organizations (id),
    name       text COLLATE "C" NOT NULL,
    sealed     bytea NOT NULL,
    version    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- +goose Down
DROP TABLE secrets;
