package reports

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
)

var loadComparisonTemplate = template.Must(template.Must(pageTemplate.Clone()).ParseFS(pageFiles, "page/loadcompare.html"))

type (
	loadComparisonData struct {
		*LoadComparison
		pageHead
		Sentence string
		Rows     []loadComparisonLine
	}
	loadComparisonLine struct {
		Name  string
		Cells []loadComparisonCell
	}
	loadComparisonCell struct {
		Value, Ratio string
		First        bool
		Differs      bool
		// Drawn is where the ratio, its bounds and one are, from 0 to 100; absent
		// where there is no ratio.
		Drawn              bool
		At, Low, High, One string
	}
)

// Page renders the comparison as a page like load.html.
func (c *LoadComparison) Page() ([]byte, error) {
	d := loadComparisonData{LoadComparison: c, Sentence: c.plan(), pageHead: newPageHead("Loads compared", loadStyle, "")}
	low, high := 0.8, 1.25 // of the drawing's axis, which is logarithmic
	for _, r := range c.Rows {
		for _, cell := range r.Cells[1:] {
			if cell.Ratio != nil {
				low, high = min(low, max(*cell.Low, .01)), max(high, min(*cell.High, 100))
			}
		}
	}
	at := func(ratio float64) string {
		return f1(100 * math.Log(min(max(ratio, low), high)/low) / math.Log(high/low))
	}
	for _, r := range c.Rows {
		line := loadComparisonLine{Name: r.Name}
		for i, cell := range r.Cells {
			x := loadComparisonCell{Value: r.text(cell), Ratio: cell.text(), First: i == 0, Differs: cell.Differs}
			if i > 0 && cell.Ratio != nil {
				x.Drawn, x.At, x.Low, x.High, x.One = true, at(*cell.Ratio), at(*cell.Low), at(*cell.High), at(1)
			}
			line.Cells = append(line.Cells, x)
		}
		d.Rows = append(d.Rows, line)
	}
	var b bytes.Buffer
	if err := loadComparisonTemplate.ExecuteTemplate(&b, "loadcompare.html", d); err != nil {
		return nil, fmt.Errorf("render comparison: %w", err)
	}
	return b.Bytes(), nil
}
