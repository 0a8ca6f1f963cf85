// Command summarize is an agent that extracts a summary and key phrases from an
// English text.
//
//	text ─ split ─► sentences ─ bound ─► candidates ─ TextRank ─► best, in order of the text
//	                    └──────────── RAKE ────────────────────► key phrases
//
// The summary is made by TextRank (R. Mihalcea, P. Tarau: TextRank: Bringing
// Order into Texts, EMNLP 2004): sentences are the nodes of a graph, two of them
// are joined by the number of words that they share, divided by the sum of the
// logarithms of their lengths, and PageRank on this graph scores them.
//
// Key phrases are found by RAKE (S. Rose, D. Engel, N. Cramer, W. Cowley:
// Automatic Keyword Extraction from Individual Documents, in Text Mining:
// Applications and Theory, 2010): stop words and punctuation cut the text into
// candidate phrases, a word scores its degree by its frequency, a phrase the sum
// of its words.
//
// The same input gives the same output: ties are broken by position.
package main
