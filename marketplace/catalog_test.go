package marketplace_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

func TestSearchWords(t *testing.T) {
	for text, want := range map[string][]string{
		"":                            nil,
		" \t\n!?-_":                   nil,
		"Greets people":               {"greets", "people"},
		"acme/pdf-reader v2.1":        {"acme", "pdf", "reader", "v2", "1"},
		"Crème Brûlée, ÄÖÜ":           {"creme", "brulee", "aou"},
		"Cre\u0300me":                 {"creme"},
		"ﬁle ½ ² ①":                   {"file", "1", "2", "2", "1"},
		"don't":                       {"don", "t"},
		"東京 グーグル":                     {"東京", "クークル"}, // marks of voice are marks
		"हिन्दी":                      {"हनद"},
		"ПРИВЕТ İstanbul ß":           {"привет", "istanbul", "ß"},
		"a\xffb":                      {"a", "b"},
		"\xf0é":                       {"e"},
		"x\x00y":                      {"x", "y"},
		strings.Repeat("a", 65):       {strings.Repeat("a", 64)},
		"a" + strings.Repeat("ж", 40): {"a" + strings.Repeat("ж", 31)}, // 63 bytes: no half character
	} {
		require.Empty(t, cmp.Diff(want, marketplace.SearchWords(text), cmpopts.EquateEmpty()), "%q", text)
	}
}

// checkWords holds for every text: what is indexed is indexed as it is searched.
func checkWords(t *testing.T, text string) {
	t.Helper()
	list := marketplace.SearchWords(text)
	for _, w := range list {
		if w == "" || len(w) > 64 || !utf8.ValidString(w) {
			t.Fatalf("%q has the word %q", text, w)
		}
		for _, r := range w {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				t.Fatalf("%q has the word %q with %q", text, w, r)
			}
		}
	}
	if again := marketplace.SearchWords(strings.Join(list, " ")); !slices.Equal(list, again) {
		t.Fatalf("%q is %q, and that is %q", text, list, again)
	}
}

func TestSearchWordsOfEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if unicode.In(r, unicode.L, unicode.M, unicode.N) && !unicode.Is(unicode.Han, r) || r < 0x3000 {
			checkWords(t, "a"+string(r))
		}
	}
}

func FuzzSearchWords(f *testing.F) {
	for _, text := range []string{"Crème Brûlée", "ﬁle ½", "हिन्दी", "각", "\u0345", "a\xff\u0300", "\xf0é", strings.Repeat("ǅ", 70)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkWords(t, text) })
}

// The wanted values are those of pg_trgm: shared trigrams by all trigrams.
func TestSimilarity(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want float64
	}{
		{"", "", 0}, {"word", "", 0}, {"!", "?", 0},
		{"word", "word", 1}, {"Word!", "wörd", 1},
		{"two words", "words two", 1},
		{"a", "a", 1}, {"a", "b", 0},
		{"word", "two words", 4.0 / 11},     // documented for pg_trgm: 0.363636
		{"hello", "helo", 4.0 / 7},          // 0.571429
		{"greeter", "greter", 6.0 / 9},      // "  g"," gr","gre",ete,ter,"er " of 8 and 7
		{"abc", "abcd", 3.0 / 6},            // "  a"," ab",abc of 4 and 5
		{"aaaa", "aa", 3.0 / 4},             // a trigram counts once
		{"pdf-reader", "reader pdf", 1},     // words in any order
		{"summarize", "translate", 0.0 / 1}, // nothing in common
	} {
		require.InDelta(t, tc.want, marketplace.Similarity(tc.a, tc.b), 1e-9, "%q %q", tc.a, tc.b)
		require.InDelta(t, tc.want, marketplace.Similarity(tc.b, tc.a), 1e-9, "%q %q", tc.b, tc.a)
	}
	require.Greater(t, marketplace.Similarity("gretter", "greeter"), marketplace.SimilarityThreshold)
}

func TestTrigrams(t *testing.T) {
	require.Equal(t, []string{"  a", " ab", "ab "}, marketplace.Trigrams("Ab, ab"))
	require.Equal(t, []string{"  e", " e "}, marketplace.Trigrams("é"))
	require.Empty(t, marketplace.Trigrams("?"))
}

func FuzzSimilarity(f *testing.F) {
	f.Add("word", "two words")
	f.Add("ﬁ", "fi")
	f.Fuzz(func(t *testing.T, a, b string) {
		ab, ba := marketplace.Similarity(a, b), marketplace.Similarity(b, a)
		if math.IsNaN(ab) || ab < 0 || ab > 1 || ab != ba {
			t.Fatalf("similarity of %q and %q is %v and %v", a, b, ab, ba)
		}
		if len(marketplace.SearchWords(a)) > 0 && marketplace.Similarity(a, a) != 1 {
			t.Fatalf("%q is not similar to itself", a)
		}
	})
}

func TestNewReview(t *testing.T) {
	valid := func(change func(*marketplace.Review)) marketplace.Review {
		r := marketplace.Review{AgentID: "agt_1", OrgID: "org_1", VersionID: "ver_1", Version: "1.0.0", Author: "usr_1", Rating: 5, Title: "Good"}
		change(&r)
		return r
	}
	for name, tc := range map[string]struct {
		review marketplace.Review
		wrong  []string
	}{
		"shortest":       {valid(func(*marketplace.Review) {}), nil},
		"worst":          {valid(func(r *marketplace.Review) { r.Rating = 1 }), nil},
		"no rating":      {valid(func(r *marketplace.Review) { r.Rating = 0 }), []string{"/rating"}},
		"six stars":      {valid(func(r *marketplace.Review) { r.Rating = 6 }), []string{"/rating"}},
		"no title":       {valid(func(r *marketplace.Review) { r.Title = "" }), []string{"/title"}},
		"longest title":  {valid(func(r *marketplace.Review) { r.Title = strings.Repeat("ä", marketplace.MaxTitle) }), nil},
		"title too long": {valid(func(r *marketplace.Review) { r.Title = strings.Repeat("ä", marketplace.MaxTitle+1) }), []string{"/title"}},
		"longest text":   {valid(func(r *marketplace.Review) { r.Text = strings.Repeat("ä", marketplace.MaxReviewText) }), nil},
		"text too long":  {valid(func(r *marketplace.Review) { r.Text = strings.Repeat("ä", marketplace.MaxReviewText+1) }), []string{"/text"}},
		"text with NUL":  {valid(func(r *marketplace.Review) { r.Text = "a\x00" }), []string{"/text"}},
		"all wrong":      {valid(func(r *marketplace.Review) { r.Rating, r.Title, r.Text = 9, "", "\xff" }), []string{"/rating", "/title", "/text"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := marketplace.NewReview(tc.review, now)
			require.Equal(t, tc.wrong, pointers(t, err))
			require.True(t, ids.Valid(ids.PrefixReview, string(r.ID)))
			require.Equal(t, now, r.CreatedAt)
			require.Equal(t, now, r.UpdatedAt)
		})
	}
	_, err := marketplace.NewReview(marketplace.Review{}, now)
	require.True(t, fault.Is(err, fault.Invalid))
}

func TestRatingKey(t *testing.T) {
	require.Equal(t, int64(3000), marketplace.RatingKey(0, 0), "without an opinion it is in the middle")
	require.Equal(t, int64(3333), marketplace.RatingKey(1, 5))
	require.Equal(t, int64(2666), marketplace.RatingKey(1, 1))
	require.Greater(t, marketplace.RatingKey(100, 450), marketplace.RatingKey(1, 5), "one enthusiast does not beat a hundred")
	for n := int64(0); n <= 50; n++ {
		for stars := n; stars <= 5*n; stars++ {
			key := marketplace.RatingKey(n, stars)
			require.GreaterOrEqual(t, key, int64(1000))
			require.Less(t, key, int64(5000))
			if stars > n {
				require.Greater(t, key, marketplace.RatingKey(n, stars-1), "more stars are better")
			}
			require.Greater(t, marketplace.RatingKey(n+1, stars+5), key, "a perfect rating raises")
			require.Less(t, marketplace.RatingKey(n+1, stars+1), key, "a bad one lowers")
		}
	}
}
