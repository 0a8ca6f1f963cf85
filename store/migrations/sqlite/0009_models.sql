-- Calls of models: what each reserved of the budget of its run, and what it used.
--
-- For the operator: adds a table, and rewrites nothing. Going down drops it WITH ITS DATA: what models cost stays in the ledger.

-- +goose Up
CREATE TABLE model_calls (
    run_id          TEXT NOT NULL REFERENCES holds (run_id),
    key             TEXT NOT NULL,
    attempt         INTEGER NOT NULL,
    model           TEXT NOT NULL,
    currency        TEXT NOT NULL,
    reserved_micros INTEGER NOT NULL CHECK (reserved_micros >= 0),
    cost_micros     INTEGER NOT NULL CHECK (cost_micros BETWEEN 0 AND reserved_micros),
    input_tokens    INTEGER NOT NULL,
    output_tokens   INTEGER NOT NULL,
    partial         INTEGER NOT NULL,
    created_at      TEXT NOT NULL,
    expires_at      TEXT NOT NULL,
    settled_at      TEXT,
    PRIMARY KEY (run_id, key)
);

-- +goose Down
DROP TABLE model_calls;
