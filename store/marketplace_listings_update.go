package store

import (
	"context"
	"errors"
	"reflect"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// lockListing lets one writer change a listing at a time; the weaker lock does
// not hold up comments, which refer to the row. The transactions of SQLite
// exclude each other anyway.
var lockListing = map[dialect]string{
	postgresDialect: selectListing + ` WHERE listings.agent_id = ? FOR NO KEY UPDATE OF listings`,
	sqliteDialect:   selectListing + ` WHERE listings.agent_id = ?`,
}

func lockedListing(tx *gorm.DB, d dialect, agent ids.Agent) (listingRow, error) {
	var row listingRow
	err := tx.Raw(lockListing[d], agent).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		err = notFound("listing", string(agent))
	}
	return row, err
}

// UpdateListing implements marketplace.ListingStore. A call that changes nothing
// and comments nothing leaves no trace.
func (s *Marketplace) UpdateListing(ctx context.Context, by audit.Actor, agent ids.Agent, action string,
	comments []marketplace.Comment, change func(*marketplace.Listing) error,
) (updated marketplace.Listing, err error) {
	err = s.db.change(ctx, "update listing "+string(agent), func(tx *gorm.DB) error {
		before, err := lockedListing(tx, s.db.dialect, agent)
		if err != nil {
			return err
		}
		l := listingFromRow(before)
		if err := refuse(change(&l)); err != nil {
			return err
		}
		now := time.Now()
		after := rowFromListing(l)
		if after.Model, err = modelInEffect(tx, agent, now); err != nil {
			return err
		}
		changed, err := rewriteListing(tx, s.db.dialect, before, &after)
		if err != nil {
			return err
		}
		for _, comment := range comments {
			if err := tx.Create(new(rowFromComment(comment))).Error; err != nil {
				return err
			}
		}
		updated = listingFromRow(after)
		if !changed && len(comments) == 0 {
			return nil
		}
		return writeAudit(tx, by, ids.Org(before.OrgID), action, before.AgentID, before.entry(), after.entry(), now)
	})
	if err != nil {
		return marketplace.Listing{}, err
	}
	return updated, nil
}

// rewriteListing writes what differs between a locked row and the one that takes
// its place, words included.
func rewriteListing(tx *gorm.DB, d dialect, before listingRow, after *listingRow) (changed bool, err error) {
	// What no change may touch.
	after.AgentID, after.OrgID, after.Publisher, after.Name = before.AgentID, before.OrgID, before.Publisher, before.Name
	after.CreatedAt, after.Runs, after.Ratings, after.Stars = before.CreatedAt, before.Runs, before.Ratings, before.Stars
	after.RatingKey, after.Latest = before.RatingKey, before.Latest
	if reflect.DeepEqual(before, *after) {
		return false, nil
	}
	err = tx.Select("*").Omit("agent_id", "org_id", "publisher", "name", "created_at", "runs", "ratings", "stars", "rating_key").
		Updates(after).Error
	if err != nil {
		return false, err
	}
	if w := wordsOf(*after); !reflect.DeepEqual(wordsOf(before), w) {
		err = storeWords(tx, d, *after, w)
	}
	return true, err
}

// refreshListing brings a listing up to date with the prices of its agent, in the
// transaction that changes these. An agent may have no listing yet.
func refreshListing(tx *gorm.DB, d dialect, agent ids.Agent, now time.Time) error {
	var rows []listingRow
	if err := tx.Raw(lockListing[d], agent).Scan(&rows).Error; err != nil || len(rows) == 0 {
		return err
	}
	after := rows[0]
	var err error
	if after.Model, err = modelInEffect(tx, agent, now); err != nil {
		return err
	}
	_, err = rewriteListing(tx, d, rows[0], &after)
	return err
}

type commentRow struct {
	ID       string
	AgentID  string
	Author   string
	Internal bool
	Text     string
	At       stamp
}

func (commentRow) TableName() string { return "listing_comments" }

func rowFromComment(c marketplace.Comment) commentRow {
	return commentRow{string(c.ID), string(c.AgentID), c.Author, c.Internal, c.Text, at(c.At)}
}

// Comments implements marketplace.ListingStore.
func (s *Marketplace) Comments(ctx context.Context, agent ids.Agent, internal bool, before ids.Comment, limit int) ([]marketplace.Comment, error) {
	query := s.db.read.WithContext(ctx).Where("agent_id = ? AND id < ?", agent, lastOf(before))
	if !internal {
		query = query.Where("internal = ?", false)
	}
	var rows []commentRow
	if err := query.Order("id DESC").Limit(atMost(limit)).Find(&rows).Error; err != nil {
		return nil, s.db.interpret(err, "list comments on listing "+string(agent))
	}
	list := make([]marketplace.Comment, len(rows))
	for i, r := range rows {
		list[i] = marketplace.Comment{
			ID: ids.Comment(r.ID), AgentID: ids.Agent(r.AgentID), Author: r.Author,
			Internal: r.Internal, Text: r.Text, At: r.At.t,
		}
	}
	return list, nil
}
