package store

import (
	"context"
	"encoding/json"
	"time"

	"gorm.io/gorm"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// listingRow is a listing without what it is searched by, which the functions of
// marketplace_words.go write. Runs, Ratings and Stars are counted by other
// statements and never written with the row; Latest is of the agent.
type listingRow struct {
	AgentID     string `gorm:"primaryKey"`
	OrgID       string
	Publisher   string
	Name        string
	Content     document[listingContent]
	Visibility  string
	Status      string
	Notice      string
	Approved    bool
	Checks      document[[]listingCheck]
	Model       string
	CreatedAt   stamp
	UpdatedAt   stamp
	SubmittedAt stamp
	PublishedAt stamp
	NewestKey   int64
	Runs        int64
	Ratings     int64
	Stars       int64
	RatingKey   int64
	Latest      string `gorm:"->"`
}

func (listingRow) TableName() string { return "listings" }

// selectListing reads listingRows.
const selectListing = `
SELECT listings.agent_id, listings.org_id, listings.publisher, listings.name, content, visibility, status, notice, approved,
    checks, model, listings.created_at, listings.updated_at, submitted_at, published_at, newest_key, runs, ratings, stars,
    rating_key, latest
FROM listings JOIN agents ON agents.id = listings.agent_id`

// listingContent is what a publisher says, as it is stored. Samples are texts: a
// database must not reorder their keys.
type listingContent struct {
	Title      string          `json:"title"`
	Summary    string          `json:"summary"`
	Readme     string          `json:"readme,omitempty"`
	Categories []string        `json:"categories,omitempty"`
	Tags       []string        `json:"tags,omitempty"`
	IconURL    string          `json:"icon_url,omitempty"`
	SupportURL string          `json:"support_url,omitempty"`
	Samples    []listingSample `json:"samples,omitempty"`
}

type listingSample struct {
	Title  string `json:"title"`
	Input  string `json:"input"`
	Output string `json:"output,omitempty"`
}

type listingCheck struct {
	Name    string   `json:"name"`
	Passed  bool     `json:"passed"`
	Message string   `json:"message"`
	Pointer string   `json:"pointer,omitempty"`
	Details []string `json:"details,omitempty"`
}

// listingEntry is a listing in the audit log.
type listingEntry struct {
	Content    *listingContent `json:"content"`
	Visibility string          `json:"visibility"`
	Status     string          `json:"status"`
	Notice     string          `json:"notice,omitempty"`
	Approved   bool            `json:"approved"`
	Checks     []listingCheck  `json:"checks,omitempty"`
}

func (r listingRow) entry() listingEntry {
	return listingEntry{r.Content.value, r.Visibility, r.Status, r.Notice, r.Approved, *r.Checks.value}
}

func contentOf(c marketplace.ListingContent) listingContent {
	stored := listingContent{
		Title: c.Title, Summary: c.Summary, Readme: c.Readme, Categories: c.Categories, Tags: c.Tags,
		IconURL: c.IconURL, SupportURL: c.SupportURL,
	}
	for _, s := range c.Samples {
		stored.Samples = append(stored.Samples, listingSample{s.Title, string(s.Input), string(s.Output)})
	}
	return stored
}

func (c listingContent) content() marketplace.ListingContent {
	content := marketplace.ListingContent{
		Title: c.Title, Summary: c.Summary, Readme: c.Readme, Categories: c.Categories, Tags: c.Tags,
		IconURL: c.IconURL, SupportURL: c.SupportURL,
	}
	for _, s := range c.Samples {
		sample := marketplace.Sample{Title: s.Title, Input: json.RawMessage(s.Input)}
		if s.Output != "" {
			sample.Output = json.RawMessage(s.Output)
		}
		content.Samples = append(content.Samples, sample)
	}
	return content
}

func rowFromListing(l marketplace.Listing) listingRow {
	row := listingRow{
		AgentID: string(l.AgentID), OrgID: string(l.OrgID), Publisher: l.Publisher, Name: l.Name,
		Content: documentOf(contentOf(l.Content)), Visibility: string(l.Visibility), Status: string(l.Status),
		Notice: l.Notice, Approved: l.Approved, Model: string(l.Model),
		CreatedAt: at(l.CreatedAt), UpdatedAt: at(l.UpdatedAt), SubmittedAt: at(l.SubmittedAt), PublishedAt: at(l.PublishedAt),
		Runs: l.Runs, Ratings: l.Ratings, Stars: l.Stars, RatingKey: marketplace.RatingKey(l.Ratings, l.Stars),
	}
	var checks []listingCheck
	for _, c := range l.Checks {
		checks = append(checks, listingCheck(c))
	}
	row.Checks = documentOf(checks)
	row.NewestKey = row.CreatedAt.t.UnixMicro()
	if !row.PublishedAt.t.IsZero() {
		row.NewestKey = row.PublishedAt.t.UnixMicro()
	}
	return row
}

func listingFromRow(r listingRow) marketplace.Listing {
	l := marketplace.Listing{
		AgentID: ids.Agent(r.AgentID), OrgID: ids.Org(r.OrgID), Publisher: r.Publisher, Name: r.Name,
		Content: r.Content.value.content(), Visibility: marketplace.Visibility(r.Visibility),
		Status: marketplace.ListingStatus(r.Status), Notice: r.Notice, Approved: r.Approved,
		CreatedAt: r.CreatedAt.t, UpdatedAt: r.UpdatedAt.t, SubmittedAt: r.SubmittedAt.t, PublishedAt: r.PublishedAt.t,
		Latest: r.Latest, Model: marketplace.Model(r.Model), Runs: r.Runs, Ratings: r.Ratings, Stars: r.Stars,
	}
	for _, c := range *r.Checks.value {
		l.Checks = append(l.Checks, marketplace.Check(c))
	}
	return l
}

func listingsFromRows(rows []listingRow) []marketplace.Listing {
	list := make([]marketplace.Listing, len(rows))
	for i, row := range rows {
		list[i] = listingFromRow(row)
	}
	return list
}

// CreateListing implements marketplace.ListingStore.
func (s *Marketplace) CreateListing(ctx context.Context, by audit.Actor, l marketplace.Listing) error {
	l.Runs, l.Ratings, l.Stars = 0, 0, 0
	return s.db.change(ctx, "create listing "+string(l.AgentID), func(tx *gorm.DB) error {
		model, err := modelInEffect(tx, l.AgentID, time.Now())
		if err != nil {
			return err
		}
		row := rowFromListing(l)
		row.Model = model
		if err := tx.Create(&row).Error; uniqueViolated(err) {
			return fault.Newf(fault.Conflict, "listing_exists", "the agent %s has a listing already", l.FullName())
		} else if err != nil {
			return err
		}
		if err := storeWords(tx, s.db.dialect, row, wordsOf(row)); err != nil {
			return err
		}
		return writeAudit(tx, by, l.OrgID, "listing.create", row.AgentID, nil, row.entry(), l.CreatedAt)
	})
}

// modelInEffect is the model of an agent's price at a time. What has no price is
// free.
func modelInEffect(tx *gorm.DB, agent ids.Agent, now time.Time) (string, error) {
	var models []string
	err := tx.Model(&priceRow{}).Where("agent_id = ? AND effective_from <= ?", agent, at(now)).
		Order("effective_from DESC, id DESC").Limit(1).Pluck("model", &models).Error
	if err != nil || len(models) == 0 {
		return string(marketplace.ModelFree), err
	}
	return models[0], nil
}

// Listing implements marketplace.ListingStore.
func (s *Marketplace) Listing(ctx context.Context, agent ids.Agent) (marketplace.Listing, error) {
	var row listingRow
	err := s.db.read.WithContext(ctx).Raw(selectListing+" WHERE listings.agent_id = ?", agent).Take(&row).Error
	if err != nil {
		return marketplace.Listing{}, s.db.lookup(err, "listing", string(agent))
	}
	return listingFromRow(row), nil
}

// ListingsOf implements marketplace.ListingStore.
func (s *Marketplace) ListingsOf(ctx context.Context, org ids.Org, before ids.Agent, limit int) ([]marketplace.Listing, error) {
	var rows []listingRow
	err := s.db.read.WithContext(ctx).Raw(selectListing+`
WHERE listings.org_id = ? AND listings.agent_id < ? ORDER BY listings.agent_id DESC LIMIT ?`,
		org, lastOf(before), rowLimit(limit)).Scan(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list listings of organization "+string(org))
	}
	return listingsFromRows(rows), nil
}

// Submissions implements marketplace.ListingStore. A cursor that was decided
// about meanwhile still says how far the caller has come.
func (s *Marketplace) Submissions(ctx context.Context, after ids.Agent, limit int) ([]marketplace.Listing, error) {
	from := at(time.Unix(0, 0))
	if after != "" {
		last, err := s.Listing(ctx, after)
		if err != nil {
			return nil, err
		}
		from = at(last.SubmittedAt)
	}
	var rows []listingRow
	err := s.db.read.WithContext(ctx).Raw(selectListing+`
WHERE status = 'in_review' AND (submitted_at, listings.agent_id) > (?, ?)
ORDER BY submitted_at, listings.agent_id LIMIT ?`, from, after, rowLimit(limit)).Scan(&rows).Error
	if err != nil {
		return nil, s.db.interpret(err, "list submissions")
	}
	return listingsFromRows(rows), nil
}

// rowLimit is atMost for SQL text; zero means all.
func rowLimit(limit int) int64 {
	if limit <= 0 {
		return 1 << 32
	}
	return int64(limit)
}
