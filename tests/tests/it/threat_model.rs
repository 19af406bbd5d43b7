//! The threat model's claims and their tests.

use anyhow::Context;
use fitment_tests::workspace;

/// A test that is renamed or gone takes its claim with it.
#[test]
fn every_claim_names_a_test_that_is_there() -> anyhow::Result<()> {
    let page = std::fs::read_to_string(workspace().join("docs/threat-model.md"))?;
    let rows =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #") && !line.starts_with("|--"));
    let mut claims = 0;
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains(".rs")).collect();
        claims += usize::from(!named.is_empty());
        for name in named {
            let (file, function) = name.split_once("::").map_or((name, None), |(file, name)| (file, Some(name)));
            let source = std::fs::read_to_string(workspace().join(file)).with_context(|| name.to_owned())?;
            assert!(source.contains("#[test]") || source.contains("::test]") || function.is_none(), "{name}");
            if let Some(function) = function {
                assert!(source.contains(&format!("fn {function}(")), "{name} is not there");
            }
        }
    }
    assert!(claims > 20, "{claims} claims");
    Ok(())
}
