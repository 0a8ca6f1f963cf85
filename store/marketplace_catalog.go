package store

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"gorm.io/gorm"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

// maxCatalogPage bounds a page of the catalog; it is the page of a query without
// a limit.
const maxCatalogPage = 1000

// search is a catalog query on its way through the database.
type search struct {
	viewer  marketplace.Viewer
	query   marketplace.CatalogQuery
	dialect dialect
	now     time.Time
	words   []string
	facets  []string
	place   string // column of the order
	limit   int
}

// placed is a listing with where it stands in the order.
type placed struct {
	Listing listingRow `gorm:"embedded"`
	Place   int64
	tier    int
}

// Search implements marketplace.CatalogStore. Listings that match better come
// first: one tier after the other is read until the page is full.
func (s *Marketplace) Search(ctx context.Context, v marketplace.Viewer, q marketplace.CatalogQuery, now time.Time) (marketplace.CatalogPage, error) {
	f, possible := newSearch(v, q, s.db.dialect, now)
	if !possible {
		return marketplace.CatalogPage{}, nil
	}
	db := s.db.read.WithContext(ctx)
	found, err := f.ordered(db)
	if err != nil {
		return marketplace.CatalogPage{}, s.db.interpret(err, "search catalog")
	}
	if len(found) == 0 && len(f.words) > 0 && q.After.Agent == "" {
		found, err = f.similar(db)
		return marketplace.CatalogPage{Listings: listingsOf(found), Similar: len(found) > 0}, s.db.interpret(err, "search catalog")
	}
	var page marketplace.CatalogPage
	if len(found) > f.limit {
		found = found[:f.limit]
		last := found[f.limit-1]
		page.Next = marketplace.CatalogCursor{Tier: last.tier, Key: last.Place, Agent: ids.Agent(last.Listing.AgentID)}
	}
	page.Listings = listingsOf(found)
	return page, nil
}

// newSearch prepares a query. The second result is false when no listing can have
// what the filters ask for.
func newSearch(v marketplace.Viewer, q marketplace.CatalogQuery, d dialect, now time.Time) (search, bool) {
	f := search{viewer: v, query: q, dialect: d, now: now, words: marketplace.SearchWords(q.Text), limit: q.Limit}
	if len(f.words) > marketplace.MaxSearchWords {
		f.words = f.words[:marketplace.MaxSearchWords]
	}
	if f.limit <= 0 || f.limit > maxCatalogPage {
		f.limit = maxCatalogPage
	}
	switch q.Sort {
	case marketplace.SortNewest:
		f.place = "newest_key"
	case marketplace.SortBestRated:
		f.place = "rating_key"
	default:
		f.place = "runs"
	}
	for _, facet := range []struct{ kind, value string }{
		{facetCategory, q.Category}, {facetTag, q.Tag}, {facetPublisher, q.Publisher}, {facetModel, string(q.Model)},
	} {
		if facet.value == "" {
			continue
		}
		if !isFacet(facet.value) {
			return search{}, false
		}
		f.facets = append(f.facets, facet.kind+facet.value)
	}
	return f, true
}

// isFacet reports whether a value can be one of a listing.
func isFacet(value string) bool {
	const most = 63
	return len(value) <= most && !slices.ContainsFunc([]byte(value), func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// end is the place before the first one.
var end = marketplace.CatalogCursor{Key: math.MaxInt64, Agent: "~"}

// ordered reads a page, and one listing more where there is one. A listing that
// moves from one tier to another meanwhile is not taken twice.
func (f search) ordered(db *gorm.DB) (found []placed, err error) {
	tiers := []int{0}
	if byTier := len(f.words) > 0 && f.place == "runs" && f.query.Sort != marketplace.SortMostUsed; byTier {
		tiers = []int{3, 2, 1}
	}
	after := f.query.After
	for _, tier := range tiers {
		from := end
		switch {
		case after.Agent == "":
		case after.Tier < tier:
			continue // the pages before have all of these
		case after.Tier == tier:
			from = after
		}
		rows, err := f.listed(db, f.match(tier), from, f.limit+1-len(found))
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			row.tier = tier
			if !slices.ContainsFunc(found, func(o placed) bool { return o.Listing.AgentID == row.Listing.AgentID }) {
				found = append(found, row)
			}
		}
		if len(found) > f.limit {
			return found, nil
		}
	}
	return found, nil
}

func listingsOf(found []placed) []marketplace.Listing {
	list := make([]marketplace.Listing, len(found))
	for i, row := range found {
		list[i] = listingFromRow(row.Listing)
	}
	return list
}

// similarWords is by how many words a misspelt one may be meant, and
// similarListings how many listings that have one of these are compared.
const (
	similarWords    = 3
	similarListings = 50
)

// similar finds listings with words that are spelt like those of the query, the
// most alike first. A word that is the beginning of one may stand anywhere, the
// others in name or title.
func (f search) similar(db *gorm.DB) ([]placed, error) {
	meant := make([]map[string]float64, len(f.words)) // for each word, how alike the others are
	known := false
	for i, word := range f.words {
		var err error
		if meant[i], err = wordsLike(db, word); err != nil {
			return nil, err
		}
		known = known || len(meant[i]) > 0
	}
	if !known {
		return nil, nil
	}
	f.place = "runs"
	found, err := f.listed(db, f.matchSimilar(meant), end, max(f.limit, similarListings))
	if err != nil {
		return nil, err
	}
	score := make(map[string]float64, len(found))
	for _, row := range found {
		score[row.Listing.AgentID] = likeness(meant, row.Listing.titleWords())
	}
	slices.SortFunc(found, func(a, b placed) int {
		return cmp.Or(cmp.Compare(score[b.Listing.AgentID], score[a.Listing.AgentID]), cmp.Compare(b.Listing.AgentID, a.Listing.AgentID))
	})
	return found[:min(len(found), f.limit)], nil
}

// likeness is the sum of how alike the words of a query and a name and title are.
// A word that is not there was found elsewhere, and counts least.
func likeness(meant []map[string]float64, words []string) (sum float64) {
	for _, alike := range meant {
		best := marketplace.SimilarityThreshold
		for _, word := range words {
			best = max(best, alike[word])
		}
		sum += best
	}
	return sum
}

// selectAlike finds the words that have a number of trigrams in common with one.
// The shorter of two has more of its own in common.
const selectAlike = `
SELECT word FROM search_grams WHERE gram IN ?
GROUP BY word HAVING count(*) >= ? ORDER BY count(*) DESC, length(word), word LIMIT 50`

// wordsLike finds the words of names and titles that are most like one, and how
// alike they are.
func wordsLike(db *gorm.DB, word string) (map[string]float64, error) {
	grams := marketplace.Trigrams(word)
	var words []string
	least := int(math.Ceil(float64(len(grams)) * marketplace.SimilarityThreshold))
	if err := db.Raw(selectAlike, grams, least).Scan(&words).Error; err != nil {
		return nil, err
	}
	alike := map[string]float64{}
	for _, w := range words {
		if s := marketplace.Similarity(word, w); s >= marketplace.SimilarityThreshold {
			alike[w] = s
		}
	}
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(alike[b], alike[a]) })
	for _, w := range words[min(len(words), similarWords):] {
		delete(alike, w)
	}
	return alike, nil
}
