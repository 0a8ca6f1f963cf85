package main

import (
	"math"
	"slices"
	"sort"
)

// maxGraph bounds the sentences in the graph: its edges grow with the square.
// 1000 sentences are some 25 pages.
const maxGraph = 1000

// bound returns at most limit sentences in their order. A longer text is cut
// into parts of equal numbers of sentences, and each part gives equally many of
// its own: those whose words are the most frequent ones in the whole text, by
// the mean frequency of their stems. So no part of a long text goes unheard.
func bound(sentences []sentence, limit int) []sentence {
	if len(sentences) <= limit {
		return sentences
	}
	frequency := map[string]int{}
	for _, s := range sentences {
		for _, stem := range s.stems {
			frequency[stem]++
		}
	}
	weight := func(s sentence) float64 {
		// A fragment is no summary, however frequent its one word is.
		if len(s.stems) < 3 {
			return 0
		}
		sum := 0
		for _, stem := range s.stems {
			sum += frequency[stem]
		}
		return float64(sum) / float64(len(s.stems))
	}
	weights := make([]float64, len(sentences))
	for i, s := range sentences {
		weights[i] = weight(s)
	}
	const parts = 20
	share := limit / parts
	var kept []sentence
	for part := range parts {
		low, high := part*len(sentences)/parts, (part+1)*len(sentences)/parts
		for _, i := range best(weights[low:high], share) {
			kept = append(kept, sentences[low+i])
		}
	}
	return kept
}

// edge leads to a sentence.
type edge struct {
	to     int32
	weight float32
}

// graph joins sentences by their similarity.
func graph(sentences []sentence) [][]edge {
	// Stems become numbers in sorted lists, so that two sentences are compared
	// by merging.
	number := map[string]int32{}
	stems := make([][]int32, len(sentences))
	for i, s := range sentences {
		for _, stem := range s.stems {
			n, known := number[stem]
			if !known {
				n = int32(len(number))
				number[stem] = n
			}
			stems[i] = append(stems[i], n)
		}
		slices.Sort(stems[i])
	}
	edges := make([][]edge, len(sentences))
	for i := range sentences {
		for j := range i {
			shared := common(stems[i], stems[j])
			// One word each has logarithm 0: the measure says nothing then.
			size := math.Log(float64(len(stems[i]))) + math.Log(float64(len(stems[j])))
			if shared == 0 || size <= 0 {
				continue
			}
			w := float32(float64(shared) / size)
			edges[i] = append(edges[i], edge{int32(j), w})
			edges[j] = append(edges[j], edge{int32(i), w})
		}
	}
	return edges
}

// common counts the numbers that two sorted lists share.
func common(a, b []int32) int {
	n := 0
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			n, a, b = n+1, a[1:], b[1:]
		}
	}
	return n
}

// textRank scores sentences by PageRank on their graph, with the damping factor
// of the paper and until nothing changes any more.
func textRank(sentences []sentence) []float64 {
	const (
		damping    = 0.85
		precision  = 1e-6
		iterations = 100
	)
	edges := graph(sentences)
	strength := make([]float64, len(edges)) // sum of the weights at a node
	for i, list := range edges {
		for _, e := range list {
			strength[i] += float64(e.weight)
		}
	}
	score := make([]float64, len(edges))
	for i := range score {
		score[i] = 1
	}
	next := make([]float64, len(edges))
	for range iterations {
		change := 0.0
		for i, list := range edges {
			sum := 0.0
			for _, e := range list {
				sum += float64(e.weight) / strength[e.to] * score[e.to]
			}
			next[i] = (1 - damping) + damping*sum
			change = max(change, math.Abs(next[i]-score[i]))
		}
		score, next = next, score
		if change < precision {
			break
		}
	}
	return score
}

// best returns the indexes of the n highest scores in ascending order. Of equal
// scores the earlier one is better.
func best(scores []float64, n int) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return scores[order[a]] > scores[order[b]] })
	order = order[:min(n, len(order))]
	sort.Ints(order)
	return order
}
