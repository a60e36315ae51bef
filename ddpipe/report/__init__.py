"""From result files to tables, figures and the page; measured beside published. Never imports torch."""
