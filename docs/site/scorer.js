/* What a search of the site shows first: pages that answer a question, then names, then long lists. */
var Scorer = {
  score: ([docname, title, anchor, descr, score]) => {
    if (/^(how_to\/|tutorial|which_method|glossary)/.test(docname)) return score + 30;
    if (/^(changelog|codebook|what_was_tried|contributing)/.test(docname)) return score - 30;
    return score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 60,
  partialTitle: 15,
  term: 5,
  partialTerm: 2,
};
