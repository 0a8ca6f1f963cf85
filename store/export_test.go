package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// OpenTraced is Open with a tracer that sees every statement.
func OpenTraced(ctx context.Context, config Config, tracer pgx.QueryTracer) (*DB, error) {
	config.tracer = tracer
	return Open(ctx, config)
}
