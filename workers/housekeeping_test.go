package workers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

var now = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// chores has so many subscriptions and agents due, and fails as it is told.
type chores struct {
	renewals            int
	usage, prices       int
	renewErr, foldErr   error
	priceErr            error
	renewCalls, folds   int
	priceFolds          int
	at, pricesAt        time.Time
	fee                 int64
	done                chan struct{} // closed at the second fold
	stopAfterFirstRenew context.CancelFunc
}

func (c *chores) RenewDue(_ context.Context, at time.Time, limit int, fee int64) (int, error) {
	c.renewCalls++
	c.at, c.fee = at, fee
	if c.stopAfterFirstRenew != nil {
		c.stopAfterFirstRenew()
	}
	n := min(limit, c.renewals)
	c.renewals -= n
	return n, c.renewErr
}

func (c *chores) FoldUsage(_ context.Context, limit int) (int, error) {
	if c.folds++; c.folds == 2 && c.done != nil {
		close(c.done)
	}
	n := min(limit, c.usage)
	c.usage -= n
	return n, c.foldErr
}

func (c *chores) FoldPrices(_ context.Context, at time.Time, limit int) (int, error) {
	c.priceFolds++
	c.pricesAt = at
	n := min(limit, c.prices)
	c.prices -= n
	return n, c.priceErr
}

func aHousekeeping(c *chores) (*Housekeeping, *bytes.Buffer) {
	var log bytes.Buffer
	return &Housekeeping{
		Store: c, Policy: marketplace.Policy{FeeBasisPoints: 1250}, Interval: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now },
	}, &log
}

func TestHousekeepingOnce(t *testing.T) {
	away := errors.New("away")
	for _, tt := range []struct {
		name           string
		chores         chores
		renewed, folds int // calls
		priced         int
		warnings       int
	}{
		{"nothing is due", chores{}, 1, 1, 1, 0},
		{"until nothing is due", chores{renewals: 2*choreBatch + 1, usage: choreBatch, prices: 3 * choreBatch}, 3, 2, 4, 0},
		{"a chore that fails keeps nothing else from being done", chores{renewErr: away, renewals: 2 * choreBatch, usage: 1}, 1, 1, 1, 1},
		{"all fail", chores{renewErr: away, foldErr: away, priceErr: away}, 1, 1, 1, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, log := aHousekeeping(&tt.chores)
			h.once(t.Context())
			require.Equal(t, tt.renewed, tt.chores.renewCalls)
			require.Equal(t, tt.folds, tt.chores.folds)
			require.Equal(t, tt.priced, tt.chores.priceFolds)
			require.Equal(t, now, tt.chores.at)
			require.Equal(t, now, tt.chores.pricesAt)
			require.Equal(t, int64(1250), tt.chores.fee)
			require.Equal(t, tt.warnings, bytes.Count(log.Bytes(), []byte("housekeeping interrupted")), "%s", log)
		})
	}
}

func TestHousekeepingStopsInTheMiddle(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := &chores{renewals: 10 * choreBatch, renewErr: context.Canceled, stopAfterFirstRenew: stop}
	h, log := aHousekeeping(c)
	require.NoError(t, h.Run(ctx))
	require.Equal(t, 1, c.renewCalls)
	require.Zero(t, c.folds+c.priceFolds)
	require.Empty(t, log.String(), "a worker that stops is nothing to warn of")
}

func TestHousekeepingGoesOn(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := &chores{renewErr: errors.New("away"), done: make(chan struct{})}
	h, _ := aHousekeeping(c)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	<-c.done // it looked again
	stop()
	require.NoError(t, <-ended)
}
