package advisory

import (
	"encoding/json"
	"math"
	"strings"
)

// Severity is that of a vulnerability; empty when nobody says.
type Severity string

// The severities, as CVSS 3.1 section 5 and most feeds name them.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Unknown  Severity = ""
)

// Severities are all, the worst first, with Unknown last.
var Severities = []Severity{Critical, High, Medium, Low, Unknown}

func (s Severity) rank() int {
	switch s {
	case Critical:
		return 4
	case High:
		return 3
	case Medium:
		return 2
	case Low:
		return 1
	}
	return 0
}

// String spells a severity; an unknown one is "?".
func (s Severity) String() string {
	if s == Unknown {
		return "?"
	}
	return string(s)
}

// parseSeverity reads a word.
func parseSeverity(s string) Severity {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "critical":
		return Critical
	case "high", "important":
		return High
	case "medium", "moderate":
		return Medium
	case "low", "negligible", "minor", "none":
		return Low
	}
	return Unknown
}

// severityOf is the severity of a record: by its CVSS 3 vector, else by the word that
// the database gives.
func severityOf(r *osvRecord) Severity {
	best := Unknown
	take := func(list []osvSeverity) {
		for _, s := range list {
			if v := fromVector(s.Score); v.rank() > best.rank() {
				best = v
			}
		}
	}
	take(r.Severity)
	for i := range r.Affected {
		take(r.Affected[i].Severity)
	}
	var word string
	if best == Unknown && json.Unmarshal(r.Database.Severity, &word) == nil {
		best = parseSeverity(word)
	}
	return best
}

// fromVector rates a CVSS 3.0 or 3.1 vector by its base score (FIRST, CVSS 3.1
// specification, section 7.1). Others are not rated here.
func fromVector(vector string) Severity {
	score, ok := cvss3(vector)
	switch {
	case !ok:
		return Unknown
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	}
	return Low
}

// weights of CVSS 3.1's base metrics (table 16). Those of PR are for an unchanged
// scope.
var weights = map[string]map[string]float64{
	"AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
	"AC": {"L": 0.77, "H": 0.44},
	"PR": {"N": 0.85, "L": 0.62, "H": 0.27},
	"UI": {"N": 0.85, "R": 0.62},
	"S":  {"U": 0, "C": 1},
	"C":  {"H": 0.56, "L": 0.22, "N": 0},
	"I":  {"H": 0.56, "L": 0.22, "N": 0},
	"A":  {"H": 0.56, "L": 0.22, "N": 0},
}

func cvss3(vector string) (score float64, ok bool) {
	parts := strings.Split(vector, "/")
	if parts[0] != "CVSS:3.0" && parts[0] != "CVSS:3.1" {
		return 0, false
	}
	m := map[string]float64{}
	letters := map[string]string{}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, ":")
		if w, known := weights[name][value]; known {
			m[name], letters[name] = w, value
		}
	}
	if len(m) != len(weights) {
		return 0, false
	}
	changed := m["S"] == 1
	if changed {
		switch letters["PR"] {
		case "L":
			m["PR"] = 0.68
		case "H":
			m["PR"] = 0.5
		}
	}
	iss := 1 - (1-m["C"])*(1-m["I"])*(1-m["A"])
	impact := 6.42 * iss
	if changed {
		impact = 7.52*(iss-0.029) - 3.25*math.Pow(iss-0.02, 15)
	}
	if impact <= 0 {
		return 0, true
	}
	total := impact + 8.22*m["AV"]*m["AC"]*m["PR"]*m["UI"]
	if changed {
		total *= 1.08
	}
	return roundUp(math.Min(total, 10)), true
}

// roundUp is the specification's (appendix A): to one decimal, without the errors of
// floating point.
func roundUp(x float64) float64 {
	n := int64(math.Round(x * 100000))
	if n%10000 == 0 {
		return float64(n) / 100000
	}
	return float64(n/10000+1) / 10
}
