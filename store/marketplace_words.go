package store

import (
	"slices"
	"strings"

	"gorm.io/gorm"

	"agentmarket/marketplace"
)

// listingWords is what a listing is searched by: its words by where they stand,
// and its facets. Both databases index exactly these.
type listingWords struct {
	// a: name, title and publisher, b: summary, categories and tags, c: readme.
	// A word is in the first of them only.
	a, b, c []string
	facets  []string
	// found says that the catalog shows the listing, to whomever.
	found bool
}

// The bounds of what is indexed of one listing. The words of name, title, summary
// and labels are far below them; of a readme, what is beyond them is not found.
const (
	maxListingWords     = 20_000
	maxListingWordBytes = 200_000
)

func wordsOf(r listingRow) listingWords {
	c := r.Content.value
	known := map[string]bool{}
	size := 0
	take := func(texts ...string) (words []string) {
		for _, word := range marketplace.SearchWords(strings.Join(texts, " ")) {
			if known[word] || len(known) == maxListingWords || size+len(word) > maxListingWordBytes {
				continue
			}
			known[word] = true
			size += len(word)
			words = append(words, word)
		}
		return words
	}
	w := listingWords{
		a:     take(r.Name, c.Title, r.Publisher),
		b:     take(c.Summary, strings.Join(c.Categories, " "), strings.Join(c.Tags, " ")),
		c:     take(c.Readme),
		found: r.Status == string(marketplace.ListingPublished),
	}
	w.facets = append(w.facets, facetPublisher+r.Publisher, facetModel+r.Model)
	for _, category := range c.Categories {
		w.facets = append(w.facets, facetCategory+category)
	}
	for _, tag := range c.Tags {
		w.facets = append(w.facets, facetTag+tag)
	}
	return w
}

// titleWords are the words of name, title and publisher.
func (r listingRow) titleWords() []string {
	return marketplace.SearchWords(r.Name + " " + r.Content.value.Title + " " + r.Publisher)
}

// The facets. What follows is a label, or a model: lower-case letters, digits,
// hyphens and underscores.
const (
	facetCategory  = "c:"
	facetTag       = "t:"
	facetPublisher = "p:"
	facetModel     = "m:"
)

// storeWords exchanges what a listing is searched by.
func storeWords(tx *gorm.DB, d dialect, r listingRow, w listingWords) error {
	var err error
	switch d {
	case postgresDialect:
		err = tx.Exec(storeVector, w.vector(), r.AgentID).Error
	case sqliteDialect:
		err = tx.Exec(storeDocument, strings.Join(w.a, " "), strings.Join(w.b, " "), strings.Join(w.c, " "),
			strings.Join(w.facets, " "), r.AgentID).Error
	}
	if err != nil || !w.found {
		return err
	}
	return storeGrams(tx, w.a)
}

const storeVector = `UPDATE listings SET search = CAST(? AS tsvector) WHERE agent_id = ?`

const storeDocument = `
INSERT OR REPLACE INTO listing_search (rowid, words_a, words_b, words_c, facets)
SELECT rowid, ?, ?, ?, ? FROM listings WHERE agent_id = ?`

// vector is the listing as a tsvector in text. A word stands there under every
// tier that it counts for, so that the index alone answers a search of a tier;
// the weights of PostgreSQL are not in the index.
func (w listingWords) vector() string {
	var b strings.Builder
	add := func(prefix string, words []string) {
		for _, word := range words {
			b.WriteString("'" + prefix + word + "' ")
		}
	}
	add("3:", w.a)
	add("2:", w.a)
	add("2:", w.b)
	for _, words := range [][]string{w.a, w.b, w.c} {
		add("1:", words)
	}
	add("", w.facets)
	return b.String()
}

// insertGrams is followed by as many rows. Rivals that insert the same ones wait
// for each other; all insert in the same order.
const insertGrams = `INSERT INTO search_grams (gram, word) VALUES `

// maxGramRows bounds the rows of one statement.
const maxGramRows = 500

// storeGrams makes words known to searches for words that are spelt like them.
func storeGrams(tx *gorm.DB, words []string) error {
	var pairs [][2]string
	for _, word := range words {
		for _, gram := range marketplace.Trigrams(word) {
			pairs = append(pairs, [2]string{gram, word})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for rows := range slices.Chunk(pairs, maxGramRows) {
		values := make([]any, 0, 2*len(rows))
		for _, row := range rows {
			values = append(values, row[0], row[1])
		}
		text := insertGrams + strings.TrimSuffix(strings.Repeat("(?, ?), ", len(rows)), ", ") + ` ON CONFLICT (gram, word) DO NOTHING`
		if err := tx.Exec(text, values...).Error; err != nil {
			return err
		}
	}
	return nil
}
