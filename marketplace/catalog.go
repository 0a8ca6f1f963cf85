package marketplace

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"agentmarket/ids"
)

// Sort is an order of the catalog.
type Sort string

// The orders. Without a search text relevance is most_used.
const (
	SortRelevance Sort = "relevance"
	SortNewest    Sort = "newest"
	SortMostUsed  Sort = "most_used"
	SortBestRated Sort = "best_rated"
)

// Viewer is who looks at the catalog: everything public, everything of the own
// organization, and what was granted to it, to the teams and to the person.
type Viewer struct {
	OrgID  ids.Org
	UserID ids.User
	Teams  []ids.Team
}

// Viewer is the principal as one who looks at the catalog.
func (p Principal) Viewer() Viewer { return Viewer{OrgID: p.OrgID, UserID: p.UserID, Teams: p.Teams} }

// CatalogQuery selects a page of the listings that are published and visible.
type CatalogQuery struct {
	Text      string // words, each the beginning of a word of the listing
	Category  string
	Tag       string
	Publisher string
	Model     Model
	Sort      Sort
	After     CatalogCursor // zero: the first page
	Limit     int
}

// CatalogCursor is the last listing of a page: where it stood in the order.
type CatalogCursor struct {
	Tier  int // of relevance, 1 to 3; 0 in the other orders
	Key   int64
	Agent ids.Agent // empty: the first page
}

// CatalogPage is a page of the catalog.
type CatalogPage struct {
	Listings []Listing
	Next     CatalogCursor // zero: the last page
	// Similar says that nothing matched the words, and these are only spelt
	// like them. There is one page of them.
	Similar bool
}

// SearchWords splits a text into what is searched: words of letters and digits,
// in lower case and without accents. Both databases index exactly these, so that
// they find the same.
func SearchWords(text string) []string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(text, " ")) {
		switch {
		case unicode.Is(unicode.M, r):
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteByte(' ')
		}
	}
	words := strings.Fields(b.String())
	for i, w := range words {
		if len(w) > maxWord {
			words[i] = strings.ToValidUTF8(w[:maxWord], "")
		}
	}
	return words
}

const (
	maxWord = 64 // bytes
	// MaxSearchWords bounds the words of a query; more are not looked at.
	MaxSearchWords = 10
)

// SimilarityThreshold is how similar a word of a listing's name or title must be
// to a misspelt one: shared trigrams divided by all trigrams.
const SimilarityThreshold = 0.3

// Similarity is the share of trigrams that two texts have in common, from 0 to 1.
// It is the measure of pg_trgm, for databases that do not have it.
func Similarity(a, b string) float64 {
	x, y := trigrams(a), trigrams(b)
	common := 0
	for t := range x {
		if y[t] {
			common++
		}
	}
	if all := len(x) + len(y) - common; all > 0 {
		return float64(common) / float64(all)
	}
	return 0
}

// Trigrams returns the trigrams of a text, sorted.
func Trigrams(text string) []string { return slices.Sorted(maps.Keys(trigrams(text))) }

// trigrams of each word, with two blanks before and one behind it.
func trigrams(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range SearchWords(text) {
		padded := []rune("  " + word + " ")
		for i := 0; i+3 <= len(padded); i++ {
			set[string(padded[i:i+3])] = true
		}
	}
	return set
}

// Review is what an organization thinks of a version that it has run. There is
// one for each organization and version.
type Review struct {
	ID        ids.Review
	AgentID   ids.Agent
	OrgID     ids.Org
	VersionID ids.Version
	Version   string
	Author    string // identifier of the actor
	Rating    int    // 1 to 5
	Title     string
	Text      string // may be empty
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MaxReviewText bounds the text of a review, in characters.
const MaxReviewText = 4000

// NewReview returns a review.
func NewReview(r Review, now time.Time) (Review, error) {
	var f fields
	f.check(1 <= r.Rating && r.Rating <= 5, "/rating", "must be 1 to 5")
	f.text("/title", r.Title, MaxTitle)
	if r.Text != "" {
		f.check(checkLongText(r.Text, "", MaxReviewText) == nil, "/text", "must have at most 4000 characters")
	}
	r.ID, r.CreatedAt, r.UpdatedAt = ids.New[ids.Review](ids.PrefixReview), now, now
	return r, f.err()
}

// RatingKey orders listings by rating: the mean, drawn towards 3 by as much as
// five reviews weigh, in thousandths, so that one enthusiast does not beat a
// hundred satisfied buyers.
func RatingKey(ratings, stars int64) int64 {
	const weight, middle = 5, 3
	return (stars + weight*middle) * 1000 / (ratings + weight)
}
