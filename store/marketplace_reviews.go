package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

type reviewRow struct {
	ID        string
	AgentID   string
	OrgID     string
	VersionID string
	Version   string
	Author    string
	Rating    int64
	Title     string
	Text      string
	CreatedAt stamp
	UpdatedAt stamp
}

func (reviewRow) TableName() string { return "reviews" }

func rowFromReview(r marketplace.Review) reviewRow {
	return reviewRow{
		ID: string(r.ID), AgentID: string(r.AgentID), OrgID: string(r.OrgID),
		VersionID: string(r.VersionID), Version: r.Version, Author: r.Author,
		Rating: int64(r.Rating), Title: r.Title, Text: r.Text, CreatedAt: at(r.CreatedAt), UpdatedAt: at(r.UpdatedAt),
	}
}

func reviewFromRow(r reviewRow) marketplace.Review {
	return marketplace.Review{
		ID: ids.Review(r.ID), AgentID: ids.Agent(r.AgentID), OrgID: ids.Org(r.OrgID),
		VersionID: ids.Version(r.VersionID), Version: r.Version, Author: r.Author,
		Rating: int(r.Rating), Title: r.Title, Text: r.Text, CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t,
	}
}

// reviewEntry is a review in the audit log.
type reviewEntry struct {
	AgentID string `json:"agent_id"`
	Version string `json:"version"`
	Rating  int64  `json:"rating"`
	Title   string `json:"title"`
	Text    string `json:"text,omitempty"`
}

func (r reviewRow) entry() reviewEntry {
	return reviewEntry{r.AgentID, r.Version, r.Rating, r.Title, r.Text}
}

// PutReview implements marketplace.ReviewStore. The lock on the listing lets its
// rating follow one review at a time. The publisher's own organization is
// fault.Forbidden, review_own_agent.
func (s *Marketplace) PutReview(ctx context.Context, by audit.Actor, r marketplace.Review) (stored marketplace.Review, err error) {
	doing := fmt.Sprintf("review version %s by organization %s", r.VersionID, r.OrgID)
	err = s.db.change(ctx, doing, func(tx *gorm.DB) error {
		listing, err := lockedListing(tx, s.db.dialect, r.AgentID)
		if err != nil {
			return err
		}
		if listing.OrgID == string(r.OrgID) {
			return fault.New(fault.Forbidden, "review_own_agent", "an organization does not review its own agents")
		}
		if err := requireRun(tx, r); err != nil {
			return err
		}
		var known []reviewRow
		if err := tx.Where("org_id = ? AND version_id = ?", r.OrgID, r.VersionID).Limit(1).Find(&known).Error; err != nil {
			return err
		}
		row := rowFromReview(r)
		stored = reviewFromRow(row)
		if len(known) == 0 {
			if err := tx.Create(&row).Error; err != nil {
				return err
			}
			if err := rate(tx, listing, 1, row.Rating); err != nil {
				return err
			}
			return writeAudit(tx, by, r.OrgID, "review.create", row.ID, nil, row.entry(), r.UpdatedAt)
		}
		before := known[0]
		row.ID, row.CreatedAt = before.ID, before.CreatedAt
		stored = reviewFromRow(row)
		if err := tx.Select("Author", "Rating", "Title", "Text", "UpdatedAt").Updates(&row).Error; err != nil {
			return err
		}
		if err := rate(tx, listing, 0, row.Rating-before.Rating); err != nil {
			return err
		}
		return writeAudit(tx, by, r.OrgID, "review.update", row.ID, before.entry(), row.entry(), r.UpdatedAt)
	})
	if err != nil {
		return marketplace.Review{}, err
	}
	return stored, nil
}

// requireRun checks that an organization knows what it writes about.
func requireRun(tx *gorm.DB, r marketplace.Review) error {
	var runs []string
	err := tx.Raw(`
SELECT id FROM runs WHERE org_id = ? AND version_id = ? AND agent_id = ?
    AND started_at IS NOT NULL AND finished_at IS NOT NULL LIMIT 1`, r.OrgID, r.VersionID, r.AgentID).Scan(&runs).Error
	if err == nil && len(runs) == 0 {
		return fault.New(fault.Forbidden, "review_needs_run", "only who has run this version reviews it")
	}
	return err
}

// rate changes the rating of a listing that is locked.
func rate(tx *gorm.DB, l listingRow, ratings, stars int64) error {
	if ratings == 0 && stars == 0 {
		return nil
	}
	l.Ratings, l.Stars = l.Ratings+ratings, l.Stars+stars
	l.RatingKey = marketplace.RatingKey(l.Ratings, l.Stars)
	return tx.Select("Ratings", "Stars", "RatingKey").Updates(&l).Error
}

// Reviews implements marketplace.ReviewStore.
func (s *Marketplace) Reviews(ctx context.Context, agent ids.Agent, before ids.Review, limit int) ([]marketplace.Review, error) {
	var rows []reviewRow
	err := s.db.read.WithContext(ctx).Where("agent_id = ? AND id < ?", agent, lastOf(before)).
		Order("id DESC").Limit(atMost(limit)).Find(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list reviews of agent "+string(agent))
	}
	list := make([]marketplace.Review, len(rows))
	for i, row := range rows {
		list[i] = reviewFromRow(row)
	}
	return list, nil
}

// DeleteReview implements marketplace.ReviewStore. The listing is locked first, as
// everywhere; what became of the review meanwhile is seen after it.
func (s *Marketplace) DeleteReview(ctx context.Context, by audit.Actor, org ids.Org, id ids.Review, when time.Time) error {
	return s.db.change(ctx, "delete review "+string(id), func(tx *gorm.DB) error {
		row, err := reviewOf(tx, org, id)
		if err != nil {
			return err
		}
		listing, err := lockedListing(tx, s.db.dialect, ids.Agent(row.AgentID))
		if err != nil {
			return err
		}
		if row, err = reviewOf(tx, org, id); err != nil {
			return err
		}
		if err := tx.Delete(&row).Error; err != nil {
			return err
		}
		if err := rate(tx, listing, -1, -row.Rating); err != nil {
			return err
		}
		return writeAudit(tx, by, ids.Org(row.OrgID), "review.delete", row.ID, row.entry(), nil, when)
	})
}

// reviewOf finds a review of an organization, or of any where it is empty.
func reviewOf(tx *gorm.DB, org ids.Org, id ids.Review) (reviewRow, error) {
	var row reviewRow
	err := tx.Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) || err == nil && org != "" && row.OrgID != string(org) {
		err = notFound("review", string(id))
	}
	return row, err
}
