package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
)

// What a claim, an entitlement and an installation are read by names their rows'
// columns, in their order.
func TestMarketplaceColumnLists(t *testing.T) {
	for list, row := range map[string]any{
		priceColumns: &priceRow{}, entitlementColumns: &entitlementRow{}, installationColumns: &installationRow{},
	} {
		parsed, err := schema.Parse(row, &sync.Map{}, schema.NamingStrategy{})
		require.NoError(t, err)
		require.Equal(t, parsed.DBNames, columnNames(list))
	}
	require.Len(t, entitlementRow{}.values(), len(columnNames(entitlementColumns)))
}

// locked is a right that two transactions want to be the first to use.
type locked struct {
	db *DB
	q  marketplace.ClaimQuery
	id ids.Entitlement
}

func newLocked(t *testing.T) locked {
	t.Helper()
	server := testenv.Postgres(t)
	name, err := server.CreateDatabase(t.Context(), "")
	require.NoError(t, err)
	db, err := Open(t.Context(), Config{URL: server.URL(name)})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, db.Close())
		require.NoError(t, server.DropDatabase(context.Background(), name))
	})
	require.NoError(t, db.Migrate(t.Context()))
	now := time.Now()
	org, err := marketplace.NewOrganization("acme", now)
	require.NoError(t, err)
	require.NoError(t, db.Marketplace().CreateOrganization(t.Context(), audit.System("test"), org))
	agent := agentRow{ID: "agt_x", OrgID: string(org.ID), Publisher: "acme", Name: "x", CreatedAt: at(now), UpdatedAt: at(now)}
	require.NoError(t, db.write.Create(&agent).Error)
	e := marketplace.NewEntitlement(org.ID, "agt_x", marketplace.SourceTrial, now)
	require.NoError(t, db.Marketplace().Entitle(t.Context(), audit.System("test"), e))
	return locked{db, marketplace.ClaimQuery{OrgID: org.ID, AgentID: "agt_x", At: now}, e.ID}
}

// use reads a claim with its lock and uses its right once.
func (l locked) use(tx *gorm.DB) (before int64, err error) {
	c, err := claimIn(tx, l.db.dialect, l.q, true)
	if err != nil {
		return 0, err
	}
	before = c.Entitlements[0].Usage.Total
	return before, tx.Model(&entitlementRow{}).Where("id = ?", l.id).Update("used_total", before+1).Error
}

// A second one who reads a claim to act on it sees what the first one did.
func TestClaimsWithALockAreReadOneAfterTheOther(t *testing.T) {
	l := newLocked(t)
	const rivals = 20
	seen := make([]int64, rivals)
	errs := make([]error, rivals)
	var done sync.WaitGroup
	for i := range rivals {
		done.Go(func() {
			errs[i] = l.db.transact(t.Context(), func(tx *gorm.DB) (err error) {
				seen[i], err = l.use(tx)
				return err
			})
		})
	}
	done.Wait()
	want := make([]int64, rivals)
	for i, err := range errs {
		require.NoError(t, err)
		want[i] = int64(i)
	}
	require.ElementsMatch(t, want, seen)
}

// Reading a claim to look at it waits for nobody.
func TestClaimsWithoutALockDoNotWait(t *testing.T) {
	l := newLocked(t)
	tx := l.db.write.WithContext(t.Context()).Begin()
	require.NoError(t, tx.Error)
	_, err := l.use(tx)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := l.db.Marketplace().Claim(ctx, l.q)
	require.NoError(t, err)
	require.Zero(t, c.Entitlements[0].Usage.Total)
	require.NoError(t, tx.Commit().Error)
	c, err = l.db.Marketplace().Claim(ctx, l.q)
	require.NoError(t, err)
	require.EqualValues(t, 1, c.Entitlements[0].Usage.Total)
}

// A right that is stored while a claim waits for the lock of another one is locked
// as well before it is decided about.
func TestClaimsLockWhatCameInMeanwhile(t *testing.T) {
	l := newLocked(t)
	first := l.db.write.WithContext(t.Context()).Begin()
	require.NoError(t, first.Error)
	_, err := l.use(first)
	require.NoError(t, err)
	late := marketplace.NewEntitlement(l.q.OrgID, l.q.AgentID, marketplace.SourcePurchase, l.q.At)
	_, err = insertEntitlement(first, late)
	require.NoError(t, err)

	second := l.db.write.WithContext(t.Context()).Begin()
	require.NoError(t, second.Error)
	claimed := make(chan error, 1)
	var c marketplace.Claim
	go func() {
		var err error
		c, err = claimIn(second, l.db.dialect, l.q, true)
		claimed <- err
	}()
	require.Eventually(t, func() bool {
		var waiting int64
		err := l.db.read.Raw(`SELECT COUNT(*) FROM pg_locks WHERE NOT granted`).Scan(&waiting).Error
		return err == nil && waiting > 0
	}, 10*time.Second, 5*time.Millisecond, "the second one waits for the first one")
	require.NoError(t, first.Commit().Error)
	require.NoError(t, <-claimed)
	require.Len(t, c.Entitlements, 2)

	var free []string
	err = l.db.read.Raw(`SELECT id FROM entitlements FOR UPDATE SKIP LOCKED`).Scan(&free).Error
	require.NoError(t, err)
	require.Empty(t, free, "both are locked")
	require.NoError(t, second.Rollback().Error)
}
