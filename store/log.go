package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// queryLogger tells slog about slow and failed statements. It never sees the
// values: they are tenants' data.
type queryLogger struct {
	log  *slog.Logger
	slow time.Duration
}

// ParamsFilter makes gorm leave the values out of the text of a statement.
func (queryLogger) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}

// hideValues is ParamsFilter for gorm's Scan, which records statements with a
// logger of its own, the same one for every database of the process.
var hideValues = sync.OnceFunc(func() { logger.RecorderParamsFilter = queryLogger{}.ParamsFilter })

// LogMode changes nothing: what is logged is decided by the handler of slog.
func (l queryLogger) LogMode(logger.LogLevel) logger.Interface { return l }

// Info drops gorm's own remarks.
func (queryLogger) Info(context.Context, string, ...any) {}

// Warn drops gorm's own remarks.
func (queryLogger) Warn(context.Context, string, ...any) {}

// Error drops gorm's own remarks; errors arrive in Trace, too.
func (queryLogger) Error(context.Context, string, ...any) {}

// Trace sees every statement.
func (l queryLogger) Trace(ctx context.Context, begin time.Time, statement func() (string, int64), err error) {
	took := time.Since(begin)
	switch {
	case err != nil && !expected(err):
		text, _ := statement()
		l.log.WarnContext(ctx, "query failed", "sql", text, "duration", took, "error", err)
	case l.slow > 0 && took >= l.slow:
		text, rows := statement()
		l.log.WarnContext(ctx, "query slow", "sql", text, "duration", took, "rows", rows)
	}
}

// expected reports errors that are part of normal work: nothing found, a name
// that is taken, a caller that went away.
func expected(err error) bool {
	return errors.Is(err, gorm.ErrRecordNotFound) || errors.Is(err, context.Canceled) || uniqueViolated(err)
}
