package store

import (
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"agentmarket/ids"
	"agentmarket/product"
)

// The locks of limits. Everybody who takes, gives back or hands over a slot locks,
// of all scopes of the run: first their names, shared, then the rows that there
// are, both in the order of scopeKey. Who makes the row of a limit locks its name
// alone: so it waits for every slot that is taken or given back without knowing of
// the row, and whoever comes later sees the row and what it counted. A lock on a
// row alone is enough for who changes no slot.
//
// No two can wait for each other: runs are locked before the names of hand-overs,
// these before the names of scopes, names before rows, rows before the queue and the
// money, and nobody locks a run while holding any of these. The transactions of SQLite exclude each other anyway.

// lockAlone and lockShared are advisory locks of PostgreSQL on what may not exist
// yet. Two names with the same hash only wait for each other.
const (
	lockAlone  = `pg_advisory_xact_lock(hashtextextended(?, 0))`
	lockShared = `pg_advisory_xact_lock_shared(hashtextextended(?, 0))`
)

func (db *DB) lockName(tx *gorm.DB, name string) error {
	if db.dialect != postgresDialect {
		return nil
	}
	return tx.Exec(`SELECT `+lockAlone, name).Error
}

func (db *DB) shareScopeNames(tx *gorm.DB, scopes []product.Scope) error {
	if db.dialect != postgresDialect {
		return nil
	}
	names := keys(scopes)
	slices.Sort(names)
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = name
	}
	return tx.Exec(`SELECT `+strings.Repeat(lockShared+", ", len(names)-1)+lockShared, values...).Error
}

const selectLimits = `SELECT ` + limitColumns + ` FROM limits WHERE scope IN ? ORDER BY scope`

// lockRows locks the limits of scopes that there are and returns them, defaults as
// they are configured now.
func (db *DB) lockRows(tx *gorm.DB, scopes []product.Scope) ([]limitRow, error) {
	var rows []limitRow
	if err := tx.Raw(selectLimits+forUpdate[db.dialect], keys(scopes)).Find(&rows).Error; err != nil {
		return nil, err
	}
	for i, row := range rows {
		rows[i] = db.configured(row)
		if rows[i] == row {
			continue
		}
		if err := tx.Select("concurrent_runs", "cpu_millis", "memory_mib").Updates(&rows[i]).Error; err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// lockLimits locks the limits of all scopes of a run, for a change of its slot.
func (db *DB) lockLimits(tx *gorm.DB, slot slotRow) ([]limitRow, error) {
	scopes := slot.scopes()
	if err := db.shareScopeNames(tx, scopes); err != nil {
		return nil, err
	}
	return db.lockRows(tx, scopes)
}

// lockLimitsFirst is lockLimits for an organization, or a user of it, that may not
// have run anything yet. The rows of quota and user count even while they have no
// bound: who is next in the queue depends on them.
func (db *DB) lockLimitsFirst(tx *gorm.DB, slot slotRow, now time.Time) ([]limitRow, error) {
	scopes := slot.scopes()
	if err := db.shareScopeNames(tx, scopes); err != nil {
		return nil, err
	}
	counted := []product.Scope{quotaScope(ids.Org(slot.OrgID)), product.UserScope(ids.Org(slot.OrgID), slot.Starter)}
	var known int64
	if err := tx.Model(&limitRow{}).Where("scope IN ?", keys(counted)).Count(&known).Error; err != nil {
		return nil, err
	}
	if known < int64(len(counted)) {
		// Before any other row is locked: a rival that makes the same ones waits for
		// nothing that this transaction holds.
		rows := make([]limitRow, len(counted))
		for i, scope := range counted {
			rows[i] = db.configured(newLimitRow(scope, "", now))
		}
		if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&rows).Error; err != nil {
			return nil, err
		}
	}
	return db.lockRows(tx, scopes)
}

func quotaScope(org ids.Org) product.Scope {
	return product.Scope{Kind: product.ScopeQuota, ID: string(org)}
}

// configured is a row with the configured quota where nobody has set one.
func (db *DB) configured(r limitRow) limitRow {
	if r.IsDefault && r.Kind == string(product.ScopeQuota) {
		q := db.config.Quota
		return r.withLimit(product.Limit{ConcurrentRuns: q.ConcurrentRuns, CPUMillis: q.CPUMillis, MemoryMiB: q.MemoryMiB})
	}
	return r
}
