package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/examples/agents/agenttest"
)

const asAgent = "SUMMARIZE_TEST_RUN=1"

func TestMain(m *testing.M) {
	if os.Getenv("SUMMARIZE_TEST_RUN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func texts(d document) []string {
	var list []string
	for _, s := range d.sentences {
		list = append(list, s.text)
	}
	return list
}

func TestSample(t *testing.T) {
	m := agenttest.Manifest(t)
	input := agenttest.Read(t, "sample-input.json")
	require.NoError(t, agenttest.Valid(t, m.InputSchema, input))
	result, stderr, code := agenttest.Run(t, input, []string{asAgent}, os.Args[0])
	require.Equal(t, 0, code, stderr)
	require.NoError(t, agenttest.Valid(t, m.OutputSchema, result))
	require.JSONEq(t, string(agenttest.Read(t, "sample-output.json")), string(result))
}

func TestFederalist(t *testing.T) {
	m := agenttest.Manifest(t)
	text := string(agenttest.Read(t, "testdata/federalist-10.txt"))
	input, err := json.Marshal(map[string]any{"text": text, "sentences": 4, "key_phrases": 10})
	require.NoError(t, err)
	require.NoError(t, agenttest.Valid(t, m.InputSchema, input))
	result, stderr, code := agenttest.Run(t, input, []string{asAgent}, os.Args[0])
	require.Equal(t, 0, code, stderr)
	require.NoError(t, agenttest.Valid(t, m.OutputSchema, result))

	var out output
	require.NoError(t, json.Unmarshal(result, &out))
	require.Len(t, out.Summary, 4)
	require.Len(t, out.KeyPhrases, 10)
	joined := strings.Join(strings.Fields(text), " ")
	at := -1
	for _, s := range out.Summary {
		where := strings.Index(joined, s)
		require.Greater(t, where, at, "verbatim and in the order of the text: %s", s)
		at = where
	}
	summary := strings.Join(out.Summary, " ")
	require.Contains(t, summary, "faction")
	require.Contains(t, summary, "government")
	require.NotContains(t, summary, "PUBLIUS", "a signature is no sentence")
	require.NotContains(t, summary, "Same Subject Continued", "nor is a heading")
	for i, p := range out.KeyPhrases {
		require.Contains(t, strings.ToLower(joined), p.Phrase)
		require.True(t, i == 0 || p.Score <= out.KeyPhrases[i-1].Score, "best first")
	}
	require.Greater(t, out.Statistics.Words, 2900)
	require.InDelta(t, 90, out.Statistics.Sentences, 5)

	again, _, _ := agenttest.Run(t, input, []string{asAgent}, os.Args[0])
	require.Equal(t, string(result), string(again), "the same input gives the same output")
}

func TestSentences(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"plain":          {"One is here. Two is there! Is three? Yes.", []string{"One is here.", "Two is there!", "Is three?", "Yes."}},
		"titles":         {"Mr. Smith met Dr. Jones. They left.", []string{"Mr. Smith met Dr. Jones.", "They left."}},
		"initials":       {"J. F. Kennedy spoke. Nobody else did.", []string{"J. F. Kennedy spoke.", "Nobody else did."}},
		"I at the end":   {"So did I. Nobody else did.", []string{"So did I.", "Nobody else did."}},
		"dotted":         {"The U.S. Congress sat. He lived in the U.S. It was hot.", []string{"The U.S. Congress sat.", "He lived in the U.S.", "It was hot."}},
		"e.g. and etc.":  {"Use tools, e.g. Go, etc. and more. Done.", []string{"Use tools, e.g. Go, etc. and more.", "Done."}},
		"numbers":        {"Pi is 3.14 or so. Version 1.2.3 is out. See example.org for it.", []string{"Pi is 3.14 or so.", "Version 1.2.3 is out.", "See example.org for it."}},
		"quotes":         {`He said "Go away." She went. “Really?” he asked. (It was.) End.`, []string{`He said "Go away."`, "She went.", "“Really?” he asked.", "(It was.)", "End."}},
		"ellipsis":       {"Well... maybe it is. Wait… No.", []string{"Well... maybe it is.", "Wait…", "No."}},
		"wrapped lines":  {"One sentence\nover two lines.\nAnother one.", []string{"One sentence over two lines.", "Another one."}},
		"CRLF":           {"One line.\r\n\r\nTwo lines.", []string{"One line.", "Two lines."}},
		"lists":          {"We need:\n- apples from the tree\n- pears\n2) plums\n\nThat is all.", []string{"We need:", "apples from the tree", "pears", "plums", "That is all."}},
		"headings":       {"# Title\n\nText is here.\n\nChapter One\n\nMore text. \n\n----\n\nTHE END\n", []string{"Text is here.", "More text."}},
		"only headings":  {"# Title\n\nChapter One", []string{"Title", "Chapter One"}},
		"no end mark":    {"this goes on without an end", []string{"this goes on without an end"}},
		"Unicode":        {"Größe zählt. Ça va? 漢字です。次の文。 Ωμέγα.", []string{"Größe zählt.", "Ça va?", "漢字です。", "次の文。", "Ωμέγα."}},
		"broken UTF-8":   {"One \xff is. Two.", []string{"One is.", "Two."}},
		"marks only":     {"... !!! ???", nil},
		"nothing":        {" \n\t\n", nil},
		"trailing marks": {"What ?! Yes . . .", []string{"What ?! Yes . . ."}},
	} {
		t.Run(name, func(t *testing.T) {
			got := texts(split(c.text))
			if name == "trailing marks" {
				require.Equal(t, c.want[0], strings.Join(got, " "), "nothing is lost")
				return
			}
			require.Empty(t, cmp.Diff(c.want, got))
		})
	}
}

func TestTextWithoutWordsFails(t *testing.T) {
	for _, input := range []string{`{"text":""}`, `{"text":" \n "}`, `{"text":"... --- !!!"}`, `{}`} {
		result, stderr, code := agenttest.Run(t, []byte(input), []string{asAgent}, os.Args[0])
		require.Equal(t, 1, code)
		require.Empty(t, result)
		require.Contains(t, stderr, "summarize: the text is empty")
	}
	for _, input := range []string{"", "{", `{"text":7}`, `{"text":"a","sentences":0}`, `{"text":"a","key_phrases":51}`} {
		_, stderr, code := agenttest.Run(t, []byte(input), []string{asAgent}, os.Args[0])
		require.Equal(t, 1, code, input)
		require.Contains(t, stderr, "summarize: ")
	}
}

func TestSmallTexts(t *testing.T) {
	m := agenttest.Manifest(t)
	for _, text := range []string{"Word", "Hello, world!", "The a an of.", "Same words here. Same words here. Same words here.", "😀 smile"} {
		for _, phrases := range []int{0, 50} {
			in := input{Text: text, KeyPhrases: &phrases}
			out, err := summarize(in)
			require.NoError(t, err)
			data, err := json.Marshal(out)
			require.NoError(t, err)
			require.NoError(t, agenttest.Valid(t, m.OutputSchema, data), "%s", data)
		}
	}
}

func TestTextRankPrefersTheCentre(t *testing.T) {
	d := split("Cats chase mice at night. Mice fear cats and owls. Owls hunt mice at night. Taxes rise again slowly. Cats and owls hunt mice at night.")
	require.Equal(t, []int{4}, best(textRank(d.sentences), 1))
	require.NotContains(t, best(textRank(d.sentences), 4), 3, "what shares no word is last")
}

// The example of Rose et al., 2010.
func TestRAKEFindsThePhrasesOfThePaper(t *testing.T) {
	d := split(`Compatibility of systems of linear constraints over the set of natural numbers. Criteria of compatibility of a
system of linear Diophantine equations, strict inequations, and nonstrict inequations are considered. Upper bounds for
components of a minimal set of solutions and algorithms of construction of minimal generating sets of solutions for all
types of systems are given.`)
	var found []string
	for _, p := range keyPhrases(d, 6) {
		found = append(found, p.Phrase)
	}
	require.Contains(t, found, "linear diophantine equations")
	require.Contains(t, found, "minimal generating sets")
	require.Contains(t, found, "linear constraints")
}

// longTextOf makes text of a size whose sentences are all different.
func longTextOf(size int) string {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 3000)
	for i := range words {
		words[i] = fmt.Sprintf("w%sx%d", string(rune('a'+i%26)), i)
	}
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		b.WriteString("Sentence")
		for range 8 + random.IntN(12) {
			b.WriteString(" " + words[int(random.ExpFloat64()*300)%len(words)])
		}
		b.WriteString(". ")
		if i%7 == 6 {
			b.WriteString("\n\n")
		}
	}
	return b.String()
}

func TestLongTextIsBoundedAndFast(t *testing.T) {
	start := time.Now()
	out, err := summarize(input{Text: longTextOf(700 << 10)})
	require.NoError(t, err)
	require.Less(t, time.Since(start), 30*time.Second, "generous: the race detector is slow")
	require.Equal(t, maxGraph, out.Statistics.SentencesRanked)
	require.Greater(t, out.Statistics.Sentences, 5000)
}

func TestBoundHearsEveryPart(t *testing.T) {
	sentences := split(longTextOf(200 << 10)).sentences
	kept := bound(sentences, 100)
	require.Len(t, kept, 100)
	at := 0
	for part := range 20 {
		end := (part + 1) * len(sentences) / 20
		inPart := 0
		for at < end {
			if slices.ContainsFunc(kept, func(s sentence) bool { return s.text == sentences[at].text }) {
				inPart++
			}
			at++
		}
		require.GreaterOrEqual(t, inPart, 5)
	}
}

func FuzzSummarize(f *testing.F) {
	f.Add("One is here. Two is there!\n\n# Title\n- item")
	f.Add("\xff\x00… 。”) J. F. U.S. It")
	f.Fuzz(func(t *testing.T, text string) {
		out, err := summarize(input{Text: text})
		if err != nil {
			return
		}
		require.NotEmpty(t, out.Summary)
		for _, s := range out.Summary {
			require.NotEmpty(t, strings.TrimSpace(s))
		}
	})
}
