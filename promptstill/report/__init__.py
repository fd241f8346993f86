"""What all HTML reports share: the page, the charts, the rows, and word differences."""
