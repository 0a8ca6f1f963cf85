package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"agentmarket/ids"
)

// OpenTraced is Open with a tracer that sees every statement.
func OpenTraced(ctx context.Context, config Config, tracer pgx.QueryTracer) (*DB, error) {
	config.tracer = tracer
	return Open(ctx, config)
}

// RecordUsage is recordUsage in a transaction of its own.
func (s *Marketplace) RecordUsage(ctx context.Context, agent ids.Agent, runs, seconds int64) error {
	return s.db.change(ctx, "record use", func(tx *gorm.DB) error { return recordUsage(tx, agent, runs, seconds) })
}
