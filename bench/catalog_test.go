package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/internal/storetest"
	"agentmarket/marketplace"
	"agentmarket/store"
)

// The bounds of BenchmarkCatalogSearch.
const (
	catalogListings = 100_000
	// catalogRound is how many searches of each kind an iteration makes.
	catalogRound = 10
	// catalogTarget bounds the 99th percentile of all searches together.
	catalogTarget = 50 * time.Millisecond
)

// catalogKind is a kind of search. Each call makes another one of it.
type catalogKind struct {
	name string
	make func(w *wordList) marketplace.CatalogQuery
	// page is which page of it is measured, from 0 on.
	page int
}

// The kinds. Common words are in most listings, rare ones in dozens.
var catalogKinds = []catalogKind{
	{name: "no text, most used", make: func(*wordList) marketplace.CatalogQuery { return marketplace.CatalogQuery{} }},
	{name: "no text, newest, page 20", page: 19, make: func(*wordList) marketplace.CatalogQuery {
		return marketplace.CatalogQuery{Sort: marketplace.SortNewest}
	}},
	{name: "common word", make: text((*wordList).common)},
	{name: "common word, page 2", page: 1, make: text((*wordList).common)},
	{name: "common word, page 20", page: 19, make: text((*wordList).common)},
	{name: "medium word", make: text((*wordList).medium)},
	{name: "medium word, page 2", page: 1, make: text((*wordList).medium)},
	{name: "rare word", make: text((*wordList).rare)},
	{name: "rare word, page 2", page: 1, make: text((*wordList).rare)},
	{name: "two words", make: text((*wordList).medium, (*wordList).common)},
	{name: "two medium words", make: text((*wordList).medium, func(w *wordList) string { return w.medium() })},
	{name: "three words", make: text((*wordList).common, (*wordList).medium, (*wordList).rare)},
	{name: "one letter", make: text(beginning(1))},
	{name: "two letters", make: text(beginning(2))},
	{name: "four letters", make: text(beginning(4))},
	{name: "category", make: func(w *wordList) marketplace.CatalogQuery { return marketplace.CatalogQuery{Category: w.category()} }},
	{name: "category and tag", make: func(w *wordList) marketplace.CatalogQuery {
		return marketplace.CatalogQuery{Category: w.category(), Tag: w.medium()}
	}},
	{name: "publisher", make: func(w *wordList) marketplace.CatalogQuery { return marketplace.CatalogQuery{Publisher: w.publisher()} }},
	{name: "word in category and model", make: func(w *wordList) marketplace.CatalogQuery {
		return marketplace.CatalogQuery{Text: w.medium(), Category: w.category(), Model: marketplace.ModelFree}
	}},
	{name: "common word, newest", make: sorted(marketplace.SortNewest, (*wordList).common)},
	{name: "medium word, most used", make: sorted(marketplace.SortMostUsed, (*wordList).medium)},
	{name: "rare word, best rated", make: sorted(marketplace.SortBestRated, (*wordList).rare)},
	{name: "misspelt word", make: text(misspelt((*wordList).medium))},
	{name: "misspelt and right word", make: text(misspelt((*wordList).rare), (*wordList).medium)},
	{name: "nothing like it", make: text(func(w *wordList) string { return fmt.Sprint("qqzzxx", w.random.IntN(1000)) })},
}

type pick = func(*wordList) string

func text(picks ...pick) func(*wordList) marketplace.CatalogQuery {
	return sorted(marketplace.SortRelevance, picks...)
}

func sorted(sort marketplace.Sort, picks ...pick) func(*wordList) marketplace.CatalogQuery {
	return func(w *wordList) marketplace.CatalogQuery {
		var words []string
		for _, p := range picks {
			words = append(words, p(w))
		}
		return marketplace.CatalogQuery{Sort: sort, Text: strings.Join(words, " ")}
	}
}

// beginning is the first letters of a word.
func beginning(letters int) pick {
	return func(w *wordList) string {
		word := w.any()
		return word[:min(letters, len(word))]
	}
}

// misspelt replaces a letter of a word.
func misspelt(p pick) pick {
	return func(w *wordList) string {
		word := []byte(p(w))
		word[2+w.random.IntN(len(word)-2)] = 'q'
		return string(word)
	}
}

// BenchmarkCatalogSearch searches a catalog of a hundred thousand listings on
// PostgreSQL, for a member of an organization that has listings of its own and
// some that were granted. It is compared with reading one listing by its key,
// which alternates with it.
func BenchmarkCatalogSearch(b *testing.B) {
	u := storetest.PostgresURL(b)
	db, err := store.Open(b.Context(), store.Config{URL: u})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	words := newWordList(1)
	fillCatalog(b, u, db, words)
	m := db.Marketplace()
	viewer := marketplace.Viewer{OrgID: numbered[ids.Org]("org", 1), UserID: "usr_reader", Teams: []ids.Team{"team_a", "team_b"}}

	samples := make([][]time.Duration, len(catalogKinds)+1)
	found := make([]int, len(catalogKinds))
	once := func(keep bool) {
		for i, kind := range catalogKinds {
			q := kind.make(words)
			q.Limit = 20
			for page := range kind.page + 1 {
				began := time.Now()
				p, err := m.Search(b.Context(), viewer, q, began)
				took := time.Since(began)
				require.NoError(b, err)
				if page == kind.page && keep {
					samples[i+1] = append(samples[i+1], took)
					found[i] += len(p.Listings)
				}
				if q.After = p.Next; q.After.Agent == "" {
					break
				}
			}
			began := time.Now()
			_, err := m.Listing(b.Context(), numbered[ids.Agent]("agt", words.random.IntN(catalogListings)))
			require.NoError(b, err)
			if keep {
				samples[0] = append(samples[0], time.Since(began))
			}
		}
	}
	for range catalogRound { // warm: connections, prepared statements, caches
		once(false)
	}
	for b.Loop() {
		for range catalogRound {
			once(true)
		}
	}
	reportCatalog(b, samples, found)
}

func reportCatalog(b *testing.B, samples [][]time.Duration, found []int) {
	b.Helper()
	fmt.Printf("\n| search | samples | listings | p50 | p99 | p50 ratio to the look-up |\n|---|---|---|---|---|---|\n")
	base := quantile(samples[0], 0.5)
	slowest := time.Duration(0)
	for i, kind := range catalogKinds {
		s := samples[i+1]
		require.NotEmpty(b, s, kind.name)
		p50, p99 := quantile(s, 0.5), quantile(s, 0.99)
		slowest = max(slowest, p99)
		fmt.Printf("| %s | %d | %.1f | %s | %s | %.1f |\n", kind.name, len(s), float64(found[i])/float64(len(s)),
			millis(p50), millis(p99), p50.Seconds()/base.Seconds())
	}
	all := slices.Concat(samples[1:]...)
	p50, p99 := quantile(all, 0.5), quantile(all, 0.99)
	fmt.Printf("| all of them | %d | | %s | %s | %.1f |\n", len(all), millis(p50), millis(p99), p50.Seconds()/base.Seconds())
	fmt.Printf("| listing by its key | %d | | %s | %s | 1.0 |\n", len(samples[0]), millis(base), millis(quantile(samples[0], 0.99)))
	b.ReportMetric(float64(p50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(slowest.Microseconds())/1000, "p99-ms-of-slowest-kind")
	b.ReportMetric(p50.Seconds()/base.Seconds(), "ratio-to-lookup")
	b.ReportMetric(0, "ns/op") // of a whole round
	require.Less(b, p99, catalogTarget, "99 of 100 searches")
}

// wordList is a language: a few thousand words, of which the first ones are used
// much more often than the last.
type wordList struct {
	random *rand.Rand
	words  []string
	often  *rand.Zipf
}

func newWordList(seed uint64) *wordList {
	w := &wordList{random: rand.New(rand.NewPCG(seed, seed))}
	const count = 4000
	syllables := strings.Fields("an be co di en fo ga hi in jo ka lo me no or pa qui re sa te un ve wi xi yo za tra pre sti ment tion al")
	known := map[string]bool{}
	for len(w.words) < count {
		word := ""
		for range 2 + w.random.IntN(3) {
			word += syllables[w.random.IntN(len(syllables))]
		}
		if !known[word] && len(word) > 3 {
			known[word] = true
			w.words = append(w.words, word)
		}
	}
	w.often = rand.NewZipf(w.random, 1.07, 2, count-1)
	return w
}

func (w *wordList) any() string { return w.words[w.often.Uint64()] }

func (w *wordList) several(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = w.any()
	}
	return list
}

func (w *wordList) common() string { return w.words[w.random.IntN(20)] }
func (w *wordList) medium() string { return w.words[50+w.random.IntN(450)] }
func (w *wordList) rare() string   { return w.words[2000+w.random.IntN(2000)] }

func (w *wordList) category() string  { return fmt.Sprintf("category-%02d", w.random.IntN(20)) }
func (w *wordList) publisher() string { return fmt.Sprintf("publisher-%d", w.random.IntN(2000)) }
