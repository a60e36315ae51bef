"""The parts of reports/index.html, each from data to HTML; ddpipe/report/page.py puts them together."""
