package main

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// document is a text cut into sentences.
type document struct {
	sentences  []sentence
	headings   []string // not part of a summary, but of the key phrases
	words      int
	paragraphs int
}

// sentence is one sentence and the stems of its content words, each once.
type sentence struct {
	text   string
	stems  []string
	length int // of all words
}

var (
	listItem        = regexp.MustCompile(`^\s*(?:[-*•–]|\(?[0-9]{1,3}[.)]|\(?[a-z][.)])\s+`)
	markdownHeading = regexp.MustCompile(`^\s{0,3}#{1,6}\s+`)
	rule            = regexp.MustCompile(`^\s*(?:[-=_*~]\s*){3,}$`)
	wordPattern     = regexp.MustCompile(`[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:['’.-][\p{L}\p{N}]+)*`)
)

// split cuts a text into paragraphs at blank lines, at list items and at
// headings, joins the hard-wrapped lines of a paragraph and cuts it into
// sentences. A text of nothing but headings consists of sentences.
func split(text string) document {
	doc := cut(text)
	if len(doc.sentences) == 0 && doc.words > 0 {
		for _, heading := range doc.headings {
			doc.sentences = append(doc.sentences, newSentence(heading))
		}
		doc.headings = nil
		doc.paragraphs = len(doc.sentences)
	}
	return doc
}

func cut(text string) document {
	var doc document
	var block []string
	flush := func(item bool) {
		defer func() { block = block[:0] }()
		joined := strings.Join(strings.Fields(strings.Join(block, " ")), " ")
		n := len(wordPattern.FindAllStringIndex(joined, -1))
		if n == 0 {
			return
		}
		doc.words += n
		if !item && len(block) == 1 && looksLikeHeading(joined, n) {
			doc.headings = append(doc.headings, joined)
			return
		}
		doc.paragraphs++
		for _, s := range sentencesOf(joined) {
			doc.sentences = append(doc.sentences, newSentence(s))
		}
	}
	inItem := false
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n\n").Replace(strings.ToValidUTF8(text, " "))
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "" || rule.MatchString(line):
			flush(inItem)
			inItem = false
		case markdownHeading.MatchString(line):
			flush(inItem)
			inItem = false
			heading := strings.TrimSpace(strings.Trim(strings.TrimSpace(line), "#"))
			if n := len(wordPattern.FindAllStringIndex(heading, -1)); n > 0 {
				doc.words += n
				doc.headings = append(doc.headings, heading)
			}
		case listItem.MatchString(line):
			flush(inItem)
			inItem = true
			block = append(block, line[len(listItem.FindString(line)):])
		default:
			block = append(block, line)
		}
	}
	flush(inItem)
	return doc
}

// looksLikeHeading: a short line of its own that does not end as a sentence
// does and begins with a capital or a digit.
func looksLikeHeading(line string, words int) bool {
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(line, `"'”’)]*_`))
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(line, `"'“‘([*_`))
	return words <= 12 && !strings.ContainsRune(".!?;,:…", last) && (unicode.IsUpper(first) || unicode.IsDigit(first))
}

// abbreviations do not end a sentence, whatever follows.
var abbreviations = set(`mr mrs ms dr prof rev hon st sr jr gen col capt lt sgt maj sen rep gov pres messrs
mt ft vs v cf viz e.g i.e eg ie ca approx no nos vol vols p pp fig figs ch sec art ed eds trans op
jan feb mar apr jun jul aug sep sept oct nov dec al`)

// sentenceStarters decide about initials and dotted abbreviations: "in the U.S. It"
// is an end, "the U.S. Congress" is none.
var sentenceStarters = set(`the a an this that these those he she it we they i you his her its our their there
in on at but and so if when while after before as for however although since yet then thus what who why how`)

// sentencesOf cuts a paragraph without line breaks.
func sentencesOf(text string) []string {
	var sentences []string
	start := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		if !strings.ContainsRune(".!?…。！？", r) {
			continue
		}
		// Further marks, closing quotes and brackets belong to the sentence.
		end := i
		for end < len(text) {
			r, size := utf8.DecodeRuneInString(text[end:])
			if !strings.ContainsRune(`.!?…"'”’»)]*_`, r) {
				break
			}
			end += size
		}
		cjk := strings.ContainsRune("。！？", r)
		if end < len(text) && text[end] != ' ' && !cjk {
			continue // inside of a word: 3.14, example.org
		}
		if end < len(text) && !cjk && !ends(text[start:i], r, text[end+1:]) {
			continue
		}
		sentences = appendSentence(sentences, text[start:end])
		start, i = end, end
	}
	return appendSentence(sentences, text[start:])
}

// ends decides whether a mark ends a sentence, from what is before and after it.
func ends(before string, mark rune, after string) bool {
	next, _ := utf8.DecodeRuneInString(strings.TrimLeft(after, `"'“‘«([*_`))
	if mark != '.' {
		return !unicode.IsLower(next) // "Why?" he asked
	}
	if unicode.IsLower(next) {
		return false
	}
	word := strings.TrimLeft(before[strings.LastIndexByte(before, ' ')+1:], `"'“‘«([*_`)
	word = strings.TrimSuffix(word, ".")
	lower := strings.ToLower(word)
	if abbreviations[lower] {
		return false
	}
	initial := utf8.RuneCountInString(word) == 1 && unicode.IsUpper([]rune(word)[0])
	dotted := strings.Contains(word, ".") && len(word) <= 7 // U.S, a.m, Ph.D
	if initial && word != "I" || dotted || lower == "etc" || lower == "inc" || lower == "co" || lower == "ltd" {
		first := strings.ToLower(wordPattern.FindString(after))
		return sentenceStarters[first]
	}
	return true
}

func appendSentence(sentences []string, text string) []string {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return sentences
	case !wordPattern.MatchString(text) && len(sentences) > 0:
		sentences[len(sentences)-1] += " " + text
		return sentences
	default:
		return append(sentences, text)
	}
}

func newSentence(text string) sentence {
	s := sentence{text: text}
	seen := map[string]bool{}
	for _, word := range wordPattern.FindAllString(text, -1) {
		s.length++
		if word = strings.ToLower(word); stopWords[word] || utf8.RuneCountInString(word) < 2 {
			continue
		}
		if word = stem(word); !seen[word] {
			seen[word] = true
			s.stems = append(s.stems, word)
		}
	}
	return s
}

// stem removes the commonest English endings: enough to join "government" with
// "governments" and "govern's" with "govern", too little to join strangers.
func stem(word string) string {
	word = strings.TrimSuffix(strings.TrimSuffix(word, "'s"), "’s")
	for _, e := range []struct{ ending, instead string }{
		{"ies", "y"}, {"sses", "ss"}, {"ings", ""}, {"ing", ""}, {"edly", ""}, {"ed", ""}, {"ly", ""}, {"ss", "ss"}, {"es", "e"}, {"s", ""},
	} {
		if base, ok := strings.CutSuffix(word, e.ending); ok && len(base) >= 4 {
			return strings.TrimSuffix(base+e.instead, "e")
		}
	}
	return strings.TrimSuffix(word, "e")
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// stopWords carry no topic.
var stopWords = set(`a about above after again against all almost alone along already also although always am among
an and another any anybody anyone anything are aren't around as ask at away back be became because become becomes been
before began behind being below between both but by came can can't cannot could couldn't did didn't do does doesn't
doing don't done down during each either else enough even ever every everyone everything far few for from further gave
get gets give given gives go goes going gone got had hadn't has hasn't have haven't having he he'd he'll he's hence her
here hers herself him himself his how however i i'd i'll i'm i've if in indeed instead into is isn't it it's its itself
just keep kept know known largely last later least less let let's like likely made mainly make makes many may me might
more moreover most mostly much must my myself near nearly need neither never next no nobody none nor not nothing now
nowhere of off often on once one only onto or other others otherwise ought our ours ourselves out over own per perhaps
put quite rather really said same saw say says see seem seemed seems seen several shall shan't she she's should
shouldn't since so some somebody someone something sometimes soon still such take taken than that that's the their
theirs them themselves then thence there there's therefore thereof these they they'd they'll they're they've thing
things this those though through throughout thus to together too toward towards two under unless until up upon us
use used uses using usually very via want was wasn't way we we'd we'll we're we've well went were weren't what
whatever when whence whenever where whereas whereby wherein whether which whichever while whilst who whoever whole
whom whose why will with within without won't would wouldn't yes yet you you'd you'll you're you've your yours
yourself yourselves it’s don’t can’t won’t isn’t doesn’t didn’t i’m we’re they’re you’re that’s there’s let’s wouldn’t
couldn’t shouldn’t different greater greatest great lesser less fewer various certain particular particularly
first second next new old good better best number numbers degree degrees kind kinds called caused considered way ways time times case cases`)
