package main

import (
	"math"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

type keyPhrase struct {
	Phrase string  `json:"phrase"`
	Score  float64 `json:"score"`
}

const (
	// maxPhrase bounds the words of a phrase: RAKE favours long ones, and a
	// run of five content words is a list more often than a term.
	maxPhrase = 4
	// longText is the number of words from which a phrase has to occur twice,
	// as long as enough such phrases exist: in a long text a phrase that occurs
	// once is not a key to it.
	longText = 600
)

// keyPhrases returns the n best phrases, best first.
func keyPhrases(doc document, n int) []keyPhrase {
	phrases := map[string]*phrase{}
	var order []*phrase
	frequency, degree := map[string]int{}, map[string]int{}
	add := func(words []string) {
		if len(words) == 0 || len(words) > maxPhrase {
			return
		}
		for _, w := range words {
			frequency[w]++
			degree[w] += len(words)
		}
		text := strings.Join(words, " ")
		if phrases[text] == nil {
			phrases[text] = &phrase{text: text, words: words}
			order = append(order, phrases[text])
		}
		phrases[text].count++
	}
	for _, s := range doc.sentences {
		candidates(s.text, add)
	}
	for _, h := range doc.headings {
		candidates(h, add)
	}
	for _, p := range order {
		for _, w := range p.words {
			p.score += float64(degree[w]) / float64(frequency[w])
		}
	}
	if doc.words >= longText {
		order = repeated(order, n)
	}
	sort.SliceStable(order, func(a, b int) bool {
		if order[a].score != order[b].score {
			return order[a].score > order[b].score
		}
		return order[a].count > order[b].count
	})
	found := []keyPhrase{} // [] in JSON, not null
	for _, p := range order[:min(n, len(order))] {
		found = append(found, keyPhrase{Phrase: p.text, Score: math.Round(p.score*1000) / 1000})
	}
	return found
}

type phrase struct {
	text  string
	words []string
	count int
	score float64
}

// repeated returns the phrases that occur at least twice if they are enough.
func repeated(all []*phrase, enough int) []*phrase {
	var some []*phrase
	for _, p := range all {
		if p.count > 1 {
			some = append(some, p)
		}
	}
	if len(some) < enough {
		return all
	}
	return some
}

// candidates calls add for every run of content words between stop words and
// punctuation.
func candidates(text string, add func(words []string)) {
	var run []string
	end := 0
	for _, at := range wordPattern.FindAllStringIndex(text, -1) {
		if strings.TrimSpace(text[end:at[0]]) != "" { // punctuation in between
			add(run)
			run = nil
		}
		end = at[1]
		word := strings.ToLower(text[at[0]:at[1]])
		if stopWords[word] || utf8.RuneCountInString(word) < 3 || !strings.ContainsFunc(word, unicode.IsLetter) {
			add(run)
			run = nil
			continue
		}
		run = append(run, word)
	}
	add(run)
}
