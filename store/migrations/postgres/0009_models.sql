-- Calls of models: what each reserved of the budget of its run, and what it used.
--
-- For the operator: adds a table, and rewrites nothing. Going down drops it WITH ITS DATA: what models cost stays in the ledger.

-- +goose Up
CREATE TABLE model_calls (
    run_id          text COLLATE "C" NOT NULL REFERENCES holds (run_id),
    key             text COLLATE "C" NOT NULL,
    attempt         bigint NOT NULL,
    model           text COLLATE "C" NOT NULL,
    currency        text COLLATE "C" NOT NULL,
    reserved_micros bigint NOT NULL CHECK (reserved_micros >= 0),
    cost_micros     bigint NOT NULL CHECK (cost_micros BETWEEN 0 AND reserved_micros),
    input_tokens    bigint NOT NULL,
    output_tokens   bigint NOT NULL,
    partial         boolean NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    settled_at      timestamptz,
    PRIMARY KEY (run_id, key)
);

-- +goose Down
DROP TABLE model_calls;
