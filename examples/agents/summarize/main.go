package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

type input struct {
	Text       string `json:"text"`
	Sentences  *int   `json:"sentences"`
	KeyPhrases *int   `json:"key_phrases"`
}

type output struct {
	Summary    []string    `json:"summary"`
	KeyPhrases []keyPhrase `json:"key_phrases"`
	Statistics statistics  `json:"statistics"`
}

type statistics struct {
	Characters      int `json:"characters"`
	Words           int `json:"words"`
	Paragraphs      int `json:"paragraphs"`
	Sentences       int `json:"sentences"`
	SentencesRanked int `json:"sentences_ranked"`
}

func main() {
	if err := run(os.Stdin, os.Getenv("AGENT_OUTPUT"), os.Stdout); err != nil {
		// The last line of stderr becomes part of the run's message.
		fmt.Fprintln(os.Stderr, "summarize:", err)
		os.Exit(1)
	}
}

// run writes the result into the output file, or to stdout where there is none.
func run(stdin io.Reader, outputFile string, stdout io.Writer) error {
	var in input
	if err := json.NewDecoder(stdin).Decode(&in); err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	out, err := summarize(in)
	if err != nil {
		return err
	}
	data, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if outputFile == "" {
		_, err = fmt.Fprintf(stdout, "%s\n", data)
		return err
	}
	if err := os.WriteFile(outputFile, data, 0o600); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// summarize is the whole agent as a function.
func summarize(in input) (output, error) {
	wanted, err := within(in.Sentences, 5, 1, 20, "sentences")
	if err != nil {
		return output{}, err
	}
	phrases, err := within(in.KeyPhrases, 8, 0, 50, "key_phrases")
	if err != nil {
		return output{}, err
	}
	doc := split(in.Text)
	if doc.words == 0 {
		return output{}, errors.New("the text is empty: it has no words")
	}
	candidates := bound(doc.sentences, maxGraph)
	out := output{
		KeyPhrases: keyPhrases(doc, phrases),
		Statistics: statistics{
			Characters: utf8.RuneCountInString(in.Text), Words: doc.words, Paragraphs: doc.paragraphs,
			Sentences: len(doc.sentences), SentencesRanked: len(candidates),
		},
	}
	for _, i := range best(textRank(candidates), wanted) {
		out.Summary = append(out.Summary, candidates[i].text)
	}
	return out, nil
}

func within(value *int, standard, low, high int, name string) (int, error) {
	switch {
	case value == nil:
		return standard, nil
	case *value < low || *value > high:
		return 0, fmt.Errorf("%s must be between %d and %d", name, low, high)
	default:
		return *value, nil
	}
}
