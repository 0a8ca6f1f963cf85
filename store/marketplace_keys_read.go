package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// keyColumns are those of apiKeyRow for keysWith: the role of a person's key is
// that of her membership.
const keyColumns = `k.id, k.org_id, k.user_id, COALESCE(m.role, k.role) AS role, k.name, k.prefix, k.secret_hash, k.scopes,
    k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.rotated_to`

// teamsColumn is a list of identifiers with commas, NULL for a program's key.
const teamsColumn = `, (SELECT string_agg(t.team_id, ',' ORDER BY t.team_id) FROM team_members AS t
    WHERE t.org_id = k.org_id AND t.user_id = k.user_id AND k.user_id <> '') AS teams`

// keysWith begins a query of keys as k with the memberships of their persons as m.
func keysWith(db *gorm.DB, columns string) *gorm.DB {
	return db.Table("api_keys AS k").Select(columns).
		Joins("LEFT JOIN members AS m ON m.org_id = k.org_id AND m.user_id = k.user_id AND k.user_id <> ''")
}

// APIKeyByPrefix implements marketplace.KeyStore. It is the query of every
// request: one row by a unique index, with the role and the teams of the person.
func (s *Marketplace) APIKeyByPrefix(ctx context.Context, prefix string) (marketplace.APIKey, error) {
	var rows []struct {
		Key   apiKeyRow `gorm:"embedded"`
		Teams *string
	}
	err := keysWith(s.db.read.WithContext(ctx), keyColumns+teamsColumn).
		Where("k.prefix = ? AND (k.user_id = '' OR m.user_id IS NOT NULL)", prefix).Limit(1).Find(&rows).Error
	if err != nil {
		return marketplace.APIKey{}, s.db.interpret(err, "load API key")
	}
	if len(rows) == 0 {
		return marketplace.APIKey{}, fault.New(fault.NotFound, "key_not_found", "there is no such API key")
	}
	key, err := apiKeyFromRow(rows[0].Key)
	key.Teams = listOf[ids.Team](rows[0].Teams)
	return key, err
}

// APIKey implements marketplace.KeyStore. The key of a person who is no member
// any more has the role that it was made with.
func (s *Marketplace) APIKey(ctx context.Context, org ids.Org, id ids.Key) (marketplace.APIKey, error) {
	var row apiKeyRow
	err := keysWith(s.db.read.WithContext(ctx), keyColumns).Where("k.id = ? AND k.org_id = ?", id, org).Take(&row).Error
	if err != nil {
		return marketplace.APIKey{}, s.db.lookup(err, "key", string(id))
	}
	return apiKeyFromRow(row)
}

// APIKeys implements marketplace.KeyStore.
func (s *Marketplace) APIKeys(ctx context.Context, org ids.Org, before ids.Key, limit int) ([]marketplace.APIKey, error) {
	var rows []apiKeyRow
	err := keysWith(s.db.read.WithContext(ctx), keyColumns).Where("k.org_id = ? AND k.id < ?", org, lastOf(before)).
		Order("k.id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list API keys of organization "+string(org))
	}
	keys := make([]marketplace.APIKey, len(rows))
	for i, row := range rows {
		if keys[i], err = apiKeyFromRow(row); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// touchInterval is how exact the last use of an API key is.
const touchInterval = time.Minute

// TouchAPIKey implements marketplace.KeyStore. It reads first: an update that
// matches nothing would still queue behind the writers of SQLite.
func (s *Marketplace) TouchAPIKey(ctx context.Context, id ids.Key, now time.Time) error {
	var row apiKeyRow
	if err := s.db.read.WithContext(ctx).Select("last_used_at").Where("id = ?", id).Take(&row).Error; err != nil {
		return s.db.lookup(err, "key", string(id))
	}
	due := at(now.Add(-touchInterval))
	if last := row.LastUsedAt.t; !last.IsZero() && last.After(due.t) {
		return nil
	}
	err := s.db.write.WithContext(ctx).Model(&apiKeyRow{}).
		Where("id = ? AND (last_used_at IS NULL OR last_used_at <= ?)", id, due).
		Update("last_used_at", at(now)).Error
	return s.db.interpret(err, "touch API key "+string(id))
}
